package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/client"
)

// wire is a network between a command and its server that can be cut.
type wire struct {
	net.Listener
	running sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	// off is held while the network is cut.
	off sync.Mutex
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	w.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.off.Lock()
			out, err := net.Dial("tcp", to)
			w.off.Unlock()
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				w.running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		w.running.Wait()
	})
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// TestTime05SubscribeTellsWhatWasMissed: a lost connection costs no event. If it does, the command says so,
// with numbers.
func TestTime05SubscribeTellsWhatWasMissed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		name   string
		args   []string
		away   int
		says   []string
		misses bool
	}{
		{"nothing was published", nil, 0, []string{"connected again; nothing was missed\n"}, false},
		{"an event", nil, 1, []string{"connected again; nothing was missed, 1 event came late"}, false},
		{"more than can be resumed", nil, 60, []string{"up to ", " events of room2 missed (serials ", "(position_expired)", "connected again; events were missed on room2"}, true},
		{"without resuming", []string{"--resume=false"}, 3, []string{"connected again; events may have been missed: resuming is switched off"}, true},
		{"the first dialect", []string{"--protocol", "1"}, 3, []string{"connected again; events may have been missed: the first dialect"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, strings.TrimPrefix(r.url, "http://"))
			const channel = "room2"
			n := 2 + c.away
			if c.misses {
				n = 2
			}
			cmd := start(t, nil, append([]string{"subscribe", channel, "--full", "-n", fmt.Sprint(n), "--url", "http://" + w.Addr().String()}, c.args...)...)
			cmd.errors.await(t, "subscribed to")
			r.succeed("", "publish", channel, "before")
			cmd.out.await(t, "before")
			w.off.Lock()
			w.cut()
			cmd.errors.await(t, "connection closed")
			var lines strings.Builder
			for i := range c.away {
				fmt.Fprintf(&lines, "away %d;\n", i)
			}
			if c.away > 0 {
				r.succeed(lines.String(), "publish", channel, "--file", "-", "--lines")
			}
			w.off.Unlock()
			for _, want := range c.says {
				cmd.errors.await(t, want)
			}
			if c.misses {
				// The report after a reconnect does not wait for the subscription in every case.
				for len(cmd.status) == 0 && !strings.Contains(cmd.out.String(), "after") {
					r.succeed("", "publish", channel, "after")
				}
			} else {
				r.succeed("", "publish", channel, "after")
			}
			if status := cmd.wait(); status != exitOK {
				t.Errorf("status %d: %s", status, cmd.errors)
			}
			out := cmd.out.String()
			for i := range c.away {
				if got := strings.Count(out, fmt.Sprintf("away %d;", i)); got != 1 && !c.misses || got != 0 && c.misses {
					t.Errorf("away %d came %d times", i, got)
				}
			}
		})
	}
}

// TestTime05SubscribeBeginsWithThePast: a subscription may begin with a rewind or a snapshot.
func TestTime05SubscribeBeginsWithThePast(t *testing.T) {
	r := newRig(t)
	for i := range 6 {
		r.succeed("", "publish", "past", fmt.Sprintf(`{"device":"d%d","n":%d}`, i%2, i))
	}
	for _, c := range []struct {
		args []string
		want []int
		says string
	}{
		{[]string{"--rewind", "3"}, []int{3, 4, 5}, "past: 3 events of the past, live from here"},
		{[]string{"--rewind", "1h"}, []int{0, 1, 2, 3, 4, 5}, "past: 6 events of the past, live from here"},
		{[]string{"--latest"}, []int{4, 5}, "past: the newest of 2 values, live from here"},
	} {
		cmd := start(t, nil, append([]string{"subscribe", "past", "--json", "--url", r.url}, c.args...)...)
		cmd.errors.await(t, c.says)
		for _, n := range c.want {
			cmd.out.await(t, fmt.Sprintf(`\"n\":%d}`, n))
		}
		cmd.interrupt()
		cmd.wait()
		if got := strings.Count(cmd.out.String(), "\n"); got != len(c.want) {
			t.Errorf("%v: %d events:\n%s", c.args, got, cmd.out)
		}
		// A command that has enough events prints nothing after the summary.
		_, _, said := execute(t, "", append([]string{"subscribe", "past", "--count", fmt.Sprint(len(c.want)), "--url", r.url}, c.args...)...)
		if lines := strings.Split(said, "\n"); len(lines) < 3 || !strings.HasPrefix(lines[len(lines)-3], fmt.Sprint(len(c.want), " events in ")) {
			t.Errorf("%v: said %s", c.args, said)
		}
	}
}

// older is a server that supports only V1.
type older struct{ gws.BuiltinEventHandler }

func (older) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if strings.Contains(m.Data.String(), "pusher:subscribe") {
		_ = c.WriteString(`{"event":"pusher_internal:subscription_succeeded","channel":"lobby","data":"{}"}`)
		_ = c.WriteString(`{"event":"greeting","channel":"lobby","data":"hello"}`)
	}
}

func TestTime05SubscribeSpeaksWhatTheServerOffers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := gws.NewUpgrader(older{}, nil).Upgrade(w, r)
		if err != nil {
			return
		}
		if r.URL.Query().Get("protocol") != "7" {
			_ = conn.WriteClose(4007, []byte("unsupported protocol version"))
			return
		}
		_ = conn.WriteString(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`)
		conn.ReadLoop()
	}))
	t.Cleanup(server.Close)
	status, out, errors := execute(t, "", "subscribe", "lobby", "-n", "1", "--url", server.URL)
	if status != exitOK || !strings.Contains(out, "hello") {
		t.Errorf("status %d, %s%s", status, out, errors)
	}
	for _, args := range [][]string{{"--protocol", "2"}, {"--latest"}} {
		status, _, errors := execute(t, "", append([]string{"subscribe", "lobby", "-n", "1", "--url", server.URL}, args...)...)
		if status != exitFailure || !strings.Contains(errors, "4007") {
			t.Errorf("%v: status %d, %s", args, status, errors)
		}
	}
}

// TestTime05SubscribePrintsWhatEachChannelGets: an event for two channels gives one line for each, whatever
// id its publisher chose.
func TestTime05SubscribePrintsWhatEachChannelGets(t *testing.T) {
	r := newRig(t)
	api, err := client.NewSigned(client.SignedOptions{URL: r.url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
	if err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"1", "2"} {
		cmd := start(t, nil, "subscribe", "a", "b", "--protocol", protocol, "--url", r.url)
		cmd.errors.await(t, "subscribed to")
		for n := range 3 {
			p := client.Publish{Name: "e", Channels: []string{"a", "b"}, Data: fmt.Sprint("text ", n), MessageID: fmt.Sprint(protocol, n)}
			if n == 2 {
				p.MessageID = "" // it ends the output under test
			}
			if err := api.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		cmd.out.awaitTimes(t, "text 2", 2)
		cmd.interrupt()
		cmd.wait()
		for _, text := range []string{"text 0", "text 1"} {
			if n := strings.Count(cmd.out.String(), text); n != 2 {
				t.Errorf("protocol %s: %d lines with %q, want 2:\n%s", protocol, n, text, cmd.out)
			}
		}
	}
}

// crowded answers each subscription only after more events of the previous one than a client buffers.
type crowded struct{ gws.BuiltinEventHandler }

const crowd = 1000

func (crowded) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	for _, channel := range []string{"a", "b"} {
		if !strings.Contains(m.Data.String(), `subscribe","data":{"channel":"`+channel+`"`) {
			continue
		}
		_ = c.WriteString(`{"event":"pusher_internal:subscription_succeeded","channel":"` + channel + `","data":"{}"}`)
		for range crowd {
			_ = c.WriteString(`{"event":"tick","channel":"` + channel + `","data":"one of ` + channel + `"}`)
		}
	}
}

// TestTime05SubscribeToMoreThanOneBusyChannel: the answer to the second subscription comes after events that
// must be consumed first.
func TestTime05SubscribeToMoreThanOneBusyChannel(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := gws.NewUpgrader(crowded{}, nil).Upgrade(w, r)
		if err != nil {
			return
		}
		_ = conn.WriteString(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`)
		conn.ReadLoop()
	}))
	t.Cleanup(server.Close)
	status, out, errors := execute(t, "", "subscribe", "a", "b", "-n", fmt.Sprint(2*crowd), "--protocol", "1", "--url", server.URL)
	if a, b := strings.Count(out, "one of a"), strings.Count(out, "one of b"); status != exitOK || a != crowd || b != crowd {
		t.Errorf("status %d, %d of a, %d of b: %s", status, a, b, errors)
	}
	if !strings.Contains(errors, fmt.Sprint(2*crowd, " events")) {
		t.Error(errors)
	}
	// A command that has enough events does not wait for the rest.
	status, out, errors = execute(t, "", "subscribe", "a", "b", "c", "-n", "3", "--protocol", "1", "--url", server.URL)
	if n := strings.Count(out, "one of"); status != exitOK || n != 3 {
		t.Errorf("status %d, %d events: %s", status, n, errors)
	}
}
