package streams

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/streams/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestConformance(t *testing.T) {
	brokertest.Run(t, func(t *testing.T) brokertest.Backend {
		dir := t.TempDir()
		s := node(t, dir)
		l := open(t, options(s))
		return brokertest.Backend{
			Log: l, Apps: [2]string{"app-1", "app.2 ü"}, MaxMessages: 100, MaxEventBytes: 64<<10 + 1,
			Second: func(t *testing.T) broker.Log { return open(t, options(s)) },
			Reopen: func(t *testing.T) broker.Log {
				_ = l.Close()
				s.Shutdown()
				return open(t, options(node(t, dir)))
			},
			Evict: func(t *testing.T, app, channel string) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
