package streams

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/fault"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

func node(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(context.Background(), embedded.Options{DontListen: true, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func options(s *embedded.Server) Options {
	return Options{
		Apps:           []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 100}, {ID: "app.2 ü", Secrets: []Secret{"secret"}, MaxMessages: 100}},
		ConnectOptions: s.ConnectOptions(),
	}
}

func open(t *testing.T, opt Options) *Log {
	t.Helper()
	l, err := Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// through connects to an embedded server through a gate.
type through struct {
	server *embedded.Server
	gate   *fault.Gate
}

func (c through) InProcessConn() (net.Conn, error) {
	conn, err := c.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return c.gate.Wrap(conn), nil
}

// ask has the follower of a channel read the channel anew.
func ask(l *Log, app, channel string, begin func(*follower)) {
	for _, f := range l.followers(l.apps.Of(app)) {
		if f.Channel != channel {
			continue
		}
		f.Lock()
		defer f.Unlock()
		if f.Following() {
			begin(f)
		}
		return
	}
	panic("nobody follows " + channel)
}

func TestConformance(t *testing.T) {
	brokertest.Run(t, func(t *testing.T) brokertest.Backend {
		dir := t.TempDir()
		s := node(t, dir)
		gate := &fault.Gate{}
		opt := options(s)
		opt.ConnectOptions = append(opt.ConnectOptions, nats.InProcessServer(through{s, gate}))
		opt.FeedBytes = 256 << 10
		l := open(t, opt)
		return brokertest.Backend{
			Probe: brokertest.Probe{
				Attached: func() int { return l.Stats().Attached }, FeedBytes: 256 << 10,
				Repaired: func() uint64 { return l.Stats().Repaired }, Stall: gate.Shut,
				Retry:   func() { l.retryLater(l.apps.Of("app-1")) },
				Repairs: l.repairs.Load, RepairsAtOnce: 8,
				Doubts: map[string]func(app, channel string){
					"missed":   func(app, channel string) { ask(l, app, channel, func(f *follower) { f.repair(toTheEnd) }) },
					"suspect":  func(app, channel string) { ask(l, app, channel, func(f *follower) { f.inquire(tail) }) },
					"unplaced": func(app, channel string) { ask(l, app, channel, func(f *follower) { f.inquire(unplaced) }) },
				},
			},
			Log: l, Apps: [2]string{"app-1", "app.2 ü"}, MaxMessages: 100, MaxEventBytes: 64<<10 + 1,
			Second: func(t *testing.T) broker.Log { return open(t, options(s)) },
			Reopen: func(t *testing.T) broker.Log {
				_ = l.Close()
				s.Shutdown()
				return open(t, options(node(t, dir)))
			},
			Evict: func(t *testing.T, app, channel string) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				stream, err := l.admin.Stream(ctx, StreamOf(app))
				if err != nil {
					t.Fatal(err)
				}
				if err := stream.Purge(ctx); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
