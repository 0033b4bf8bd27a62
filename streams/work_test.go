package streams

import (
	"context"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/streams/embedded"
)

// openWork opens the queues as a process of its own would.
func openWork(t *testing.T, s *embedded.Server, node string) *Work {
	t.Helper()
	l := open(t, options(s))
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.OpenWork(t.Context(), node, table)
	if err != nil {
		t.Fatal(err)
	}
	w.lease = 2 * time.Second
	return w
}

func TestWork(t *testing.T) {
	brokertest.RunWork(t, func(t *testing.T) (broker.Work, broker.Work) {
		s := node(t, t.TempDir())
		return openWork(t, s, "one"), openWork(t, s, "other")
	})
}

// TestWorkOfTheDead takes over from a process that says nothing any more.
func TestWorkOfTheDead(t *testing.T) {
	s := node(t, t.TempDir())
	dead, heir := openWork(t, s, "dead"), openWork(t, s, "heir")
	if err := dead.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	taken, ended := make(chan broker.Taken, 2), make(chan error, 2)
	for _, w := range []*Work{dead, heir} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { ended <- w.Take(ctx, "q", 10, func(task broker.Taken) { taken <- task }) }()
		if w == dead {
			<-taken
			for _, c := range []interface{ Close() }{dead.log.feed, dead.log.pub, dead.log.read} {
				c.Close()
			}
		}
		defer func() { cancel(); <-ended }()
	}
	select {
	case task := <-taken:
		if string(task.Body) != "x" {
			t.Errorf("took %q", task.Body)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody took over")
	}
}
