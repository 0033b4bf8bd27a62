package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// clock is the real time, moved forward by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func open(t *testing.T, opts memory.Options) *memory.Log {
	t.Helper()
	log, err := memory.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return log
}

func TestConformance(t *testing.T) {
	queues := map[string]memory.Options{
		"default queues":          {},
		"queues of one item":      {QueueItems: 1},
		"queues of a few bytes":   {QueueBytes: 1},
		"queues of a few entries": {QueueItems: 7, QueueBytes: 4096},
	}
	for name, opts := range queues {
		t.Run(name, func(t *testing.T) {
			brokertest.Run(t, func(t *testing.T) brokertest.Backend {
				var c clock
				opts.Apps = []string{"app-1", "app.2"}
				opts.MaxMessages = 100
				opts.MaxAge = time.Hour
				opts.MaxEventBytes = 16 << 10
				opts.Now = c.now
				log := open(t, opts)
				return brokertest.Backend{
					Log:           log,
					Probe:         brokertest.Probe{Attached: func() int { return log.Stats().Attachments }, FeedBytes: 128 << 10},
					Apps:          [2]string{"app-1", "app.2"},
					MaxMessages:   100,
					MaxEventBytes: 16 << 10,
					Scant:         opts.QueueItems+opts.QueueBytes > 0,
					Evict: func(*testing.T, string, string) {
						c.advance(2 * time.Hour)
					},
				}
			})
		})
	}
}

func TestLargePages(t *testing.T) {
	brokertest.LargePages(t, open(t, memory.Options{Apps: []string{"app-1"}}), "app-1", 700<<10)
}
