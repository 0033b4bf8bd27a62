package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

// peer is a server of the library on which Centrifugo is built, with its in-memory broker and its JSON
// protocol. It runs with its defaults: queued messages of a client are sent in one write (WriteDelay 0).
// Application pings, which this product does not send to busy sockets either, are off.
type peer struct {
	node     *centrifuge.Node
	http     *http.Server
	listener *countingListener
	deltas   bool
}

// countingListener counts the messages written to its connections, because the library has no cheap counter
// for them.
type countingListener struct {
	net.Listener
	messages atomic.Uint64
}

type countingConn struct {
	net.Conn
	messages *atomic.Uint64
	// tail holds the last bytes of the last write, in which a message may begin.
	tail []byte
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{Conn: c, messages: &l.messages}, nil
}

var push = []byte(`{"push":`)

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	count := bytes.Count(p, push)
	if len(c.tail) > 0 {
		var seam [2 * 8]byte
		edge := append(append(seam[:0], c.tail...), p[:min(len(p), len(push)-1)]...)
		count += bytes.Count(edge, push)
	}
	c.tail = append(c.tail[:0], p[max(0, len(p)-len(push)+1):]...)
	c.messages.Add(uint64(count))
	return n, err
}

func startPeer(deltas bool) (*peer, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: "bench"}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			opt := centrifuge.SubscribeOptions{}
			if deltas {
				opt.EnableRecovery = true
				opt.AllowedDeltaTypes = []centrifuge.DeltaType{centrifuge.DeltaTypeFossil}
			}
			reply(centrifuge.SubscribeReply{Options: opt}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &peer{node: node, listener: &countingListener{Listener: l}, deltas: deltas}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
		WriteTimeout:   10 * time.Second,
	})
	p.http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.http.Serve(p.listener) }()
	return p, nil
}

func (p *peer) address() string { return p.listener.Addr().String() }

// prepare implements [contender].
func (p *peer) prepare(_ string, data [][]byte) []func() {
	out := make([]func(), len(data))
	for i, d := range data {
		out[i] = func() {
			var opts []centrifuge.PublishOption
			if p.deltas {
				opts = []centrifuge.PublishOption{centrifuge.WithHistory(1, time.Hour), centrifuge.WithDelta(true)}
			}
			if _, err := p.node.Publish(benchChannel, d, opts...); err != nil {
				panic(err)
			}
		}
	}
	return out
}

// written implements [contender].
func (p *peer) written() uint64 { return p.listener.messages.Load() }

func (p *peer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(p.node.Shutdown(ctx), p.http.Close())
}
