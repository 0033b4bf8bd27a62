package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/socket"
)

// tlsRound is the result of one fresh server, plain or with TLS.
type tlsRound struct {
	// PerSecond is the number of connections per second, up to the confirmed subscription; CPU is the
	// server's processor time for one.
	PerSecond float64
	CPU       time.Duration
	// RSS and Heap are the bytes of memory of an idle connection; Opening is the number of bytes on the wire
	// to open one.
	RSS, Heap, Opening int
	// One and Queued are the server's processor time to deliver a message of 1 KB to one socket, with one
	// message and with 16 in flight; Wire is the bytes on the wire per message, with one in flight.
	One, Queued time.Duration
	Wire        float64
}

const tlsMessage = 1024

// tlsCosts measures a plain server and one with TLS alternately, each in fresh processes.
func tlsCosts(sockets, rounds int, period time.Duration) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("WebSockets without and with TLS 1.3 (ECDSA P-256, no session resumed), %d sockets on one channel, each measurement in fresh processes, %d rounds in turns (median, lowest-highest).\n\n", sockets, rounds)
	kinds := []string{"plain", "tls"}
	got := map[string][]tlsRound{}
	for range rounds {
		for _, kind := range kinds {
			cmd := exec.Command(self, "tlsround", kind, strconv.Itoa(sockets), period.String())
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			var r tlsRound
			if err := json.Unmarshal(out, &r); err != nil {
				return err
			}
			got[kind] = append(got[kind], r)
		}
	}
	fmt.Println("| | plain | TLS | TLS / plain |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	for _, row := range []struct {
		name, unit string
		of         func(tlsRound) float64
	}{
		{"connections per second, to the confirmed subscription", "", func(r tlsRound) float64 { return r.PerSecond }},
		{"the server's processor time for one", " us", func(r tlsRound) float64 { return float64(r.CPU.Nanoseconds()) / 1e3 }},
		{"bytes on the wire to open one", " B", func(r tlsRound) float64 { return float64(r.Opening) }},
		{"resident memory of an idle one", " B", func(r tlsRound) float64 { return float64(r.RSS) }},
		{"heap of an idle one", " B", func(r tlsRound) float64 { return float64(r.Heap) }},
		{"processor time to deliver 1 KB to one socket, one at a time", " us", func(r tlsRound) float64 { return float64(r.One.Nanoseconds()) / 1e3 }},
		{"the same, 16 messages on their way", " us", func(r tlsRound) float64 { return float64(r.Queued.Nanoseconds()) / 1e3 }},
		{"bytes on the wire of that message", " B", func(r tlsRound) float64 { return r.Wire }},
	} {
		var s [2]spread
		for i, kind := range kinds {
			var all []float64
			for _, r := range got[kind] {
				all = append(all, row.of(r))
			}
			s[i] = spreadOf(all)
		}
		show := func(s spread) string {
			form := "%.0f%s (%.0f-%.0f)"
			if s.median < 100 {
				form = "%.1f%s (%.1f-%.1f)"
			}
			return fmt.Sprintf(form, s.median, row.unit, s.low, s.high)
		}
		fmt.Printf("| %s | %s | %s | %.2f |\n", row.name, show(s[0]), show(s[1]), s[1].median/s[0].median)
	}
	fmt.Println()
	return nil
}

// tlsListener begins connections with a handshake, as a node's listener does.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket.Secure(c, l.config), nil
}

// tlsRoundMain is a server process. Arguments: kind, number of sockets, period.
func tlsRoundMain(args []string) error {
	sockets, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	period, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	s, err := startServer(app.Delta{})
	if err != nil {
		return err
	}
	address := s.listener.Addr().String()
	if args[0] == "tls" {
		if address, err = s.secure(); err != nil {
			return err
		}
	}
	// The first connections cause allocations that later ones share.
	warm, _, err := startSecureChild(address, 50, args[0])
	if err != nil {
		return err
	}
	var r tlsRound
	rss, heap := memory()
	before := cpu()
	c, took, err := startSecureChild(address, sockets, args[0])
	if err != nil {
		return err
	}
	r.CPU = (cpu() - before) / time.Duration(sockets)
	r.PerSecond = float64(sockets) / took.Seconds()
	rss2, heap2 := memory()
	r.RSS, r.Heap = (rss2-rss)/sockets, (heap2-heap)/sockets
	opened, err := c.settled()
	if err != nil {
		return err
	}
	r.Opening = int(opened) / sockets
	all := uint64(sockets + 50)
	data := []byte(`{"x":"` + strings.Repeat("0123456789abcdef", tlsMessage/16) + `"}`)[:tlsMessage]
	if r.One, err = s.deliver(all, 1, data, period); err != nil {
		return err
	}
	wire, err := c.settled()
	if err != nil {
		return err
	}
	r.Wire = float64(wire-opened) / float64(s.offset) / float64(sockets)
	if r.Queued, err = s.deliver(all, 16, data, period); err != nil {
		return err
	}
	if err := errors.Join(json.NewEncoder(os.Stdout).Encode(r), c.stop(), warm.stop()); err != nil {
		return err
	}
	return s.close()
}

// secure makes the server listen with TLS as well.
func (s *server) secure() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	go func() { _ = s.http.Serve(&tlsListener{l, config}) }()
	return l.Addr().String(), nil
}

// deliver publishes for a period with window messages in flight, and returns the processor time per socket
// and message.
func (s *server) deliver(sockets uint64, window int, data []byte, period time.Duration) (time.Duration, error) {
	runtime.GC()
	start, began := s.hub.Stats().Frames, time.Now()
	before, sent := cpu(), uint64(0)
	for time.Since(began) < period {
		for range window {
			s.sink.Publication(s.publication("tick", data))
		}
		sent += uint64(window)
		for s.hub.Stats().Frames-start < sent*sockets {
			if time.Since(began) > period+20*time.Second {
				return 0, errors.New("messages were not delivered")
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
	return (cpu() - before) / time.Duration(sent*sockets), nil
}

// startSecureChild connects a number of clients of a kind, and returns how long that took.
func startSecureChild(address string, sockets int, kind string) (*child, time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	c := &child{cmd: exec.Command(self, "tlsreader", address, strconv.Itoa(sockets), kind)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, 0, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, 0, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, 0, err
	}
	took, err := time.ParseDuration(strings.TrimSpace(line))
	return c, took, err
}

// settled waits until no more bytes cross the wire, and returns how many did.
func (c *child) settled() (int64, error) {
	last := int64(-1)
	for same := 0; same < 10; time.Sleep(10 * time.Millisecond) {
		got, err := c.bytes()
		if err != nil {
			return 0, err
		}
		if got == last {
			same++
		} else {
			same, last = 0, got
		}
	}
	return last, nil
}

// metered counts the bytes that cross the wire.
type metered struct {
	net.Conn
	bytes *atomic.Int64
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.bytes.Add(int64(n))
	return n, err
}

func (m metered) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.bytes.Add(int64(n))
	return n, err
}

// tlsReaderMain holds the clients. Arguments: address, number of clients, kind.
func tlsReaderMain(args []string) error {
	sockets, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var bytes atomic.Int64
	var opened sync.WaitGroup
	errs := make(chan error, sockets)
	slots := make(chan struct{}, 32)
	began := time.Now()
	for range sockets {
		opened.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := openOne(args[0], args[2] == "tls", &bytes); err != nil {
				errs <- err
			}
		})
	}
	opened.Wait()
	if len(errs) > 0 {
		return <-errs
	}
	fmt.Println(time.Since(began))
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
		fmt.Println(bytes.Load())
	}
}

// openOne subscribes and then reads until the connection ends.
func openOne(address string, secure bool, bytes *atomic.Int64) error {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	conn := net.Conn(metered{raw, bytes})
	if secure {
		conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	}
	l := &listener{conn: conn}
	in := bufio.NewReaderSize(conn, 512)
	if err := l.begin(in, &target{key: "key"}, "localhost", benchChannel); err != nil {
		return err
	}
	go func() {
		room := make([]byte, 2048)
		for {
			if _, err := in.Read(room); err != nil {
				return
			}
		}
	}()
	return nil
}
