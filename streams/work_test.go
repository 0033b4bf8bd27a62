package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams/embedded"
)

// openWork opens the queues as a separate process would.
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
	return w
}

// takeAll repeats Take until it ends for another reason than errMissed: a task that takes long to arrive is
// taken for lost, and then the caller must begin again.
func takeAll(ctx context.Context, w *Work, queue string, pending int, do func(broker.Taken)) error {
	for {
		if err := w.Take(ctx, queue, pending, do); !errors.Is(err, errMissed) {
			return err
		}
	}
}

func TestWork(t *testing.T) {
	brokertest.RunWork(t, func(t *testing.T) brokertest.Queues {
		s := node(t, t.TempDir())
		one := openWork(t, s, "one")
		return brokertest.Queues{One: one, Other: openWork(t, s, "other"), Vacates: true, Age: func(t *testing.T, _ string) { age(t, one) }}
	})
}

// age has the server remove all tasks by their age.
func age(t *testing.T, w *Work) {
	t.Helper()
	config := w.wanted()
	config.MaxAge, config.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	s, err := w.log.js.UpdateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the server has removed what is old", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	if _, err := w.log.js.UpdateStream(t.Context(), w.wanted()); err != nil {
		t.Fatal(err)
	}
}

// TestWorkOfTheDead: a process takes over the tasks of a process that has gone silent.
func TestWorkOfTheDead(t *testing.T) {
	s := node(t, t.TempDir())
	dead, heir := openWork(t, s, "dead"), openWork(t, s, "heir")
	dead.lease, heir.lease = 2*time.Second, 2*time.Second
	if _, err := dead.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	taken, ended := make(chan broker.Taken, 2), make(chan error, 2)
	for _, w := range []*Work{dead, heir} {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { ended <- takeAll(ctx, w, "q", 10, func(task broker.Taken) { taken <- task }) }()
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
	case <-time.After(3 * time.Minute):
		t.Fatal("nobody took over")
	}
}

// eternal is a table whose records never expire, as if its servers' clocks were behind.
type eternal struct{ kv.Table }

func (e eternal) Swap(ctx context.Context, key string, value []byte, _ time.Duration, revision uint64) (uint64, error) {
	return e.Table.Swap(ctx, key, value, 0, revision)
}

// TestWorkLeasesEndByOurClock: a dead taker whose lease the table keeps is succeeded.
func TestWorkLeasesEndByOurClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := eternal{kv.NewMemoryTable(nil)}
		w := &Work{table: table, node: "dead", lease: time.Second}
		if err := w.leaseOf("q").acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		heir := w.leaseOf("q")
		if err := heir.acquire(ctx); err != nil {
			t.Fatalf("nobody took over: %v", err)
		}
		// A lease that is renewed is not taken.
		took := make(chan error, 1)
		short, end := context.WithTimeout(t.Context(), 3*time.Second)
		defer end()
		go func() { took <- w.leaseOf("q").acquire(short) }()
		renew := time.NewTicker(w.lease / 3)
		defer renew.Stop()
		for {
			select {
			case err := <-took:
				if err == nil {
					t.Error("a lease that is renewed was taken")
				}
				return
			case <-renew.C:
				if err := heir.renew(t.Context()); err != nil {
					t.Errorf("renewing: %v", err)
				}
			}
		}
	})
}

// TestWorkOfAFormerTakerIsFencedOff: a taker that was cut off while another one succeeded it requests tasks
// again as soon as it has reconnected, before it knows. No other taker would get the tasks it received before
// they expire.
func TestWorkOfAFormerTakerIsFencedOff(t *testing.T) {
	s := node(t, t.TempDir())
	one, other := openWork(t, s, "one"), openWork(t, s, "other")
	former, err := one.consumer(t.Context(), "q", 10)
	if err != nil {
		t.Fatal(err)
	}
	present, err := other.consumer(t.Context(), "q", 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if m, err := former.Next(jetstream.FetchMaxWait(time.Second)); err == nil {
		t.Errorf("the former taker got %s", m.Data())
	}
	if _, err := present.Next(); err != nil {
		t.Error(err)
	}
}

// TestWorkPutEndsWithoutAcknowledgement: the acknowledgement of a leader that was killed never comes, though
// the connection lives. Put returns an error then.
func TestWorkPutEndsWithoutAcknowledgement(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	w.log.opt.PublishTimeout = time.Second
	s, err := w.log.js.Stream(t.Context(), w.stream)
	if err != nil {
		t.Fatal(err)
	}
	silent := s.CachedInfo().Config
	silent.NoAck = true
	if _, err := w.log.js.UpdateStream(t.Context(), silent); err != nil {
		t.Fatal(err)
	}
	_, err = w.Put(t.Context(), "q", broker.Task{ID: "1", Body: []byte("x")})
	now, infoErr := s.Info(t.Context())
	if infoErr != nil {
		t.Fatal(infoErr)
	}
	// The setting is put back as soon as it is noticed, and then the put may be acknowledged.
	if !errors.Is(err, broker.ErrUnavailable) && (err != nil || now.Config.NoAck) {
		t.Errorf("got %v, of a stream that acknowledges: %v", err, !now.Config.NoAck)
	}
}

func TestWorkGoesOnAfterItsStreamVanished(t *testing.T) {
	t.Parallel()
	w := openWork(t, node(t, t.TempDir()), "one")
	w.lease = 2 * time.Second
	w.log.opt.PublishTimeout = 5 * time.Second
	taken := make(chan broker.Taken, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = w.Take(ctx, "q", 10, func(task broker.Taken) { taken <- task })
		}
	}()
	put := func(id string) {
		for i := 0; ; i++ {
			_, err := w.Put(t.Context(), "q", broker.Task{ID: id, Body: []byte(id)})
			if err == nil {
				return
			}
			if i == 5 {
				t.Fatal(err)
			}
		}
	}
	put("1")
	<-taken
	if err := w.log.js.DeleteStream(t.Context(), w.stream); err != nil {
		t.Fatal(err)
	}
	put("2")
	if task := <-taken; task.ID != "2" || string(task.Body) != "2" {
		t.Errorf("took %q %q", task.ID, task.Body)
	}
}

func TestWorkRefusesAStreamOfOthers(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	if _, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"jobs.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenWork(t.Context(), "one", kv.NewMemoryTable(nil)); err == nil || !strings.Contains(err.Error(), "jobs.>") {
		t.Errorf("got %v", err)
	}
}

func TestWorkKeepsIDsWhateverTheyHold(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	want := []string{"a b", "a\nb", "a/b ", "ü", ""}
	for _, id := range want {
		if _, err := w.Put(t.Context(), "q", broker.Task{ID: id, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), "q", broker.Task{ID: strings.Repeat("x", 257)}); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("a long id gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := takeAll(ctx, w, "q", 10, func(task broker.Taken) {
		if err := task.Done(t.Context()); err != nil {
			t.Error(err)
		}
		if got = append(got, task.ID); len(got) == len(want) {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestWorkIsBoundedInBytes: beyond the bound in bytes a task is handed out only after another one is done.
func TestWorkIsBoundedInBytes(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	const size, n = 900 << 10, 90
	for range n {
		if _, err := w.Put(t.Context(), "q", broker.Task{Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	taken := make(chan broker.Taken, n)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Take(ctx, "q", 1000, func(task broker.Taken) { taken <- task }) }()
	const most = takenBytes/size + 1
	for i := range n {
		if len(taken) > most {
			t.Fatalf("%d were handed out", len(taken))
		}
		task := <-taken
		if err := task.Done(t.Context()); err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
	}
	cancel()
	<-ended
}

func TestWorkEndsWithTheLog(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	if _, err := w.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	taken, ended := make(chan broker.Taken, 1), make(chan error, 1)
	go func() { ended <- w.Take(t.Context(), "q", 1, func(task broker.Taken) { taken <- task }) }()
	<-taken
	_ = w.log.Close()
	if err := <-ended; !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Put(t.Context(), "q", broker.Task{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestWorkNoticesWhatDidNotArrive drops deliveries, as a broken connection does: one that others follow, and
// the last one before a silence.
func TestWorkNoticesWhatDidNotArrive(t *testing.T) {
	for name, more := range map[string]int{"followed by others": 20, "the last one": 0} {
		t.Run(name, func(t *testing.T) {
			w := openWork(t, node(t, t.TempDir()), "one")
			w.lease = 2 * time.Second
			ctx, cancel := context.WithCancel(t.Context())
			taken, ended := make(chan broker.Taken, 100), make(chan struct{})
			defer func() { cancel(); <-ended }()
			go func() {
				defer close(ended)
				for ctx.Err() == nil {
					_ = w.Take(ctx, "q", 100, func(task broker.Taken) { taken <- task })
				}
			}()
			put := func(id string) {
				if _, err := w.Put(t.Context(), "q", broker.Task{ID: id, Body: []byte(id)}); err != nil {
					t.Error(err)
				}
			}
			put("first")
			if err := (<-taken).Done(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := w.log.js.Stream(t.Context(), w.stream)
			if err != nil {
				t.Fatal(err)
			}
			var consumer string
			names := s.ConsumerNames(t.Context())
			for n := range names.Name() {
				consumer = n
			}
			thief, err := w.log.js.Consumer(t.Context(), w.stream, consumer)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			stolen := 0
			for i := 0; stolen == 0 && i < 20; i++ {
				batch, err := thief.Fetch(1, jetstream.FetchMaxWait(200*time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				// The server serves waiting requests in turn, the taker's first.
				for _, id := range []string{fmt.Sprint("a", i), fmt.Sprint("b", i)} {
					want[id] = true
					put(id)
				}
				for range batch.Messages() {
					stolen++
				}
			}
			if stolen == 0 {
				t.Fatal("nothing could be taken away")
			}
			for i := range more {
				want[fmt.Sprint("more", i)] = true
				put(fmt.Sprint("more", i))
			}
			late := time.After(3 * time.Minute)
			for len(want) > 0 {
				select {
				case task := <-taken:
					delete(want, task.ID)
				case <-late:
					t.Fatalf("%v did not come", want)
				}
			}
		})
	}
}

// TestWorkIsTakenFast has more deliveries in flight than fit into one request.
func TestWorkIsTakenFast(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	const n = 4 * workPull
	for i := range n {
		if _, err := w.Put(t.Context(), "q", broker.Task{ID: fmt.Sprint(i), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		i := 0
		err := takeAll(ctx, w, "q", n, func(task broker.Taken) {
			if task.ID == "0" {
				i = 0 // the taker may begin again
			}
			if task.ID != fmt.Sprint(i) {
				t.Errorf("took %s, want %d", task.ID, i)
			}
			if i++; i == n {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%d were taken, %v", i, err)
		}
	}
}

// mute is a table that stores the first lease and loses the answer.
type mute struct {
	kv.Table
	lost atomic.Bool
}

func (m *mute) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	revision, err := m.Table.Swap(ctx, key, value, ttl, revision)
	if strings.HasPrefix(key, "work.") && m.lost.CompareAndSwap(false, true) {
		return 0, kv.ErrUnavailable
	}
	return revision, err
}

// TestTrustALeaseWhoseAnswerIsLost: a taker whose lease was stored without an answer recognizes the lease as
// its own, and takes.
func TestTrustALeaseWhoseAnswerIsLost(t *testing.T) {
	w := openWork(t, node(t, t.TempDir()), "one")
	m := &mute{Table: w.table}
	w.table = m
	if _, err := w.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := w.Take(ctx, "q", 1, func(broker.Taken) { cancel() })
	if !errors.Is(err, context.Canceled) || !m.lost.Load() {
		t.Errorf("got %v", err)
	}
}

// TestTrust07QueuesOfAnEarlierReleaseLoseNothing: a stream of an earlier release, without bounds of its
// queues, gets the bounds once no task is lost by that.
func TestTrust07QueuesOfAnEarlierReleaseLoseNothing(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	_, err := l.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "WORK", Subjects: []string{"work.>"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxAge: workAge, MaxBytes: workBytes, Duplicates: workWindow,
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = mostTasks + 50
	for i := range n {
		if _, err := l.js.Publish(t.Context(), "work.q", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	bound := func(w *Work) int64 {
		t.Helper()
		stream, err := l.js.Stream(t.Context(), w.stream)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config.MaxMsgsPerSubject
	}
	w := openWork(t, s, "one")
	if got := bound(w); got > 0 {
		t.Errorf("%d tasks are allowed while there are %d", got, n)
	}
	if _, err := w.Put(t.Context(), "q", broker.Task{Body: []byte("last")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := map[string]bool{}
	err = takeAll(ctx, w, "q", 1000, func(task broker.Taken) {
		if err := task.Done(t.Context()); err != nil {
			t.Error(err)
		}
		if got[string(task.Body)] = true; len(got) == n+1 {
			cancel()
		}
	})
	if len(got) != n+1 || !errors.Is(err, context.Canceled) {
		t.Errorf("took %d tasks, want %d: %v", len(got), n+1, err)
	}
	if got := bound(openWork(t, s, "two")); got != mostTasks {
		t.Errorf("%d tasks of a subject are allowed now, want %d", got, mostTasks)
	}
}
