package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// waits is a histogram of durations in steps of 2 %, from a microsecond on. Safe for concurrent use.
type waits struct{ steps [1024]atomic.Int64 }

const waitStep = 1.02

func (w *waits) add(d time.Duration) {
	i := int(math.Log(max(float64(d.Nanoseconds())/1e3, 1)) / math.Log(waitStep))
	w.steps[min(i, len(w.steps)-1)].Add(1)
}

func (w *waits) count() int64 {
	var n int64
	for i := range w.steps {
		n += w.steps[i].Load()
	}
	return n
}

// quantile returns a quantile in milliseconds.
func (w *waits) quantile(q float64) float64 {
	want, n := q*float64(w.count()), int64(0)
	for i := range w.steps {
		if n += w.steps[i].Load(); float64(n) >= want && n > 0 {
			return math.Pow(waitStep, float64(i+1)) / 1e3
		}
	}
	return 0
}

// listener is a client of one channel. It records the delay of each event after its intended sending time,
// which the data states: it begins with `t=NANOSECONDS;`.
type listener struct {
	conn  net.Conn
	waits *atomic.Pointer[waits]
	done  chan struct{}
}

func listen(t *target, node, channel string, to *atomic.Pointer[waits]) (*listener, error) {
	conn, err := net.DialTimeout("tcp", node, 10*time.Second)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 2048)
	l := &listener{conn: conn, waits: to, done: make(chan struct{})}
	if err := l.begin(in, t, node, channel); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go func() {
		defer close(l.done)
		_ = l.read(in) // until the connection is closed
	}()
	return l, nil
}

func (l *listener) close() {
	_ = l.conn.Close()
	<-l.done
}

func (l *listener) begin(in *bufio.Reader, t *target, node, channel string) error {
	if err := l.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(l.conn, "GET /app/%s?protocol=7&client=bench&version=1 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", t.key, node); err != nil {
		return err
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
	}
	if err := l.send(1, []byte(`{"event":"pusher:subscribe","data":{"channel":"`+channel+`"}}`)); err != nil {
		return err
	}
	for {
		text, err := l.next(in)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("subscription_succeeded")) {
			return l.conn.SetDeadline(time.Time{})
		}
	}
}

// send writes a short frame, masked with a zero key.
func (l *listener) send(opcode byte, text []byte) error {
	frame := append([]byte{0x80 | opcode, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	_, err := l.conn.Write(frame)
	return err
}

// next reads a frame and answers those that need an answer.
func (l *listener) next(in *bufio.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, err
	}
	opcode, n := head[0]&15, uint64(head[1]&127)
	switch n {
	case 126:
		if _, err := io.ReadFull(in, head[:2]); err != nil {
			return nil, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		return nil, errors.New("a frame is too large")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	switch {
	case opcode == 9:
		return text, l.send(10, text)
	case bytes.HasPrefix(text, []byte(`{"event":"pusher:ping"`)):
		return text, l.send(1, []byte(`{"event":"pusher:pong","data":{}}`))
	}
	return text, nil
}

func (l *listener) read(in *bufio.Reader) error {
	for {
		text, err := l.next(in)
		if err != nil {
			return err
		}
		_, rest, ok := bytes.Cut(text, []byte(`"t=`))
		if !ok {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte(";"))
		at, err := strconv.ParseInt(string(digits), 10, 64)
		if err == nil {
			l.waits.Load().add(time.Since(time.Unix(0, at)))
		}
	}
}

// audience is the listeners of a target, spread over its nodes.
type audience struct {
	all   []*listener
	waits atomic.Pointer[waits]
}

func gather(t *target, sockets, channels int) (*audience, error) {
	a := &audience{all: make([]*listener, sockets)}
	a.waits.Store(&waits{})
	errs := make([]error, sockets)
	var group sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range sockets {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			a.all[i], errs[i] = listen(t, t.nodes[i/channels%len(t.nodes)], fmt.Sprintf("load-%d", i%channels), &a.waits)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		a.leave()
		return nil, err
	}
	return a, nil
}

func (a *audience) leave() {
	for _, l := range a.all {
		if l != nil {
			l.close()
		}
	}
}
