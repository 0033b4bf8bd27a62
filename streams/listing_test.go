package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// slowNames is a server that answers requests for all subjects of a stream only when it is allowed to.
type slowNames struct {
	log  *Log
	conn *nats.Conn
	// asked counts the requests by stream. may holds a token for each request that may be answered.
	mu    sync.Mutex
	asked map[string]int
	may   chan struct{}
}

func (s *slowNames) of(app string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[StreamOf(app)]
}

// settled waits until the server has counted all earlier requests.
func (s *slowNames) settled(t *testing.T) {
	t.Helper()
	const mark = "mark"
	s.mu.Lock()
	before := s.asked[mark]
	s.mu.Unlock()
	if err := s.conn.Publish("other.STREAM.INFO."+mark, []byte("subjects_filter")); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the mark is counted", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.asked[mark] > before
	})
}

// namesSlowly returns a log of two apps that asks such a server.
func namesSlowly(t *testing.T) *slowNames {
	opt := options(node(t, t.TempDir()))
	if len(opt.Apps) < 2 {
		t.Fatal("two apps are needed")
	}
	real := open(t, opt)
	s := &slowNames{asked: map[string]int{}, may: make(chan struct{}, 1000)}
	for _, app := range opt.Apps[:2] {
		for _, channel := range []string{"b", "a-2", "a-1"} {
			if _, err := real.Publish(t.Context(), app.ID, broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn, err := nats.Connect("", opt.ConnectOptions...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	s.conn = conn
	var answering sync.WaitGroup
	stop := make(chan struct{})
	sub, err := conn.Subscribe("other.STREAM.INFO.*", func(m *nats.Msg) {
		names := bytes.Contains(m.Data, []byte("subjects_filter"))
		if names {
			s.mu.Lock()
			s.asked[m.Subject[len("other.STREAM.INFO."):]]++
			s.mu.Unlock()
		}
		answering.Go(func() {
			if names {
				select {
				case <-s.may:
				case <-stop:
					return
				}
			}
			if got, err := conn.Request("$JS.API"+m.Subject[len("other"):], m.Data, time.Minute); err == nil {
				_ = m.Respond(got.Data)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sub.Unsubscribe()
		close(stop)
		answering.Wait()
	})
	js, err := jetstream.NewWithAPIPrefix(conn, "other.")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{}
	k.now.Store(&connection{conn: conn, js: js})
	reader := *real.reader
	s.log = &Log{opt: real.opt, reader: &reader, admin: jets{k}, listing: broker.NewShare(1)}
	s.log.ctx, s.log.cancel = context.WithCancel(context.Background())
	t.Cleanup(s.log.cancel)
	s.log.apps.Change([]string{opt.Apps[0].ID, opt.Apps[1].ID}, nil, func(id string) *appLog {
		a := real.apps.Of(id)
		own := &appLog{opt: a.opt, stream: a.stream, root: a.root}
		own.open.Store(true)
		return own
	})
	return s
}

// TestTrust02ListingsAskTheServerOnce: before, a hundred requests for the channels of an app were as many
// walks through its stream at once, and meanwhile no other request was answered, not even the renewal of a
// gateway's lease.
func TestTrust02ListingsAskTheServerOnce(t *testing.T) {
	const many = 100
	s := namesSlowly(t)
	var asking sync.WaitGroup
	for i := range many {
		asking.Go(func() {
			prefix, want := "", []string{"a-1", "a-2", "b"}
			if i%2 == 1 {
				prefix, want = "a-", []string{"a-1", "a-2"}
			}
			got, err := s.log.Channels(t.Context(), "app-1", prefix)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("with the prefix %q: got %v, %v, want %v", prefix, got, err, want)
			}
		})
	}
	awaitTrue(t, "all of them wait", func() bool { return s.log.listings.Waiting() == many && s.of("app-1") > 0 })
	// The listing of another app waits for its turn, and gets it.
	other := make(chan error, 1)
	asking.Go(func() {
		_, err := s.log.Channels(t.Context(), "app.2 ü", "")
		other <- err
	})
	awaitTrue(t, "another app waits", func() bool { return s.log.listings.Waiting() == many+1 })
	if got := s.of("app-1"); got != 1 {
		t.Fatalf("the server is asked %d times at once", got)
	}
	for range 3 {
		s.may <- struct{}{}
	}
	asking.Wait()
	if err := <-other; err != nil {
		t.Errorf("another app: %v", err)
	}
	if first, second := s.of("app-1"), s.of("app.2 ü"); first > 2 || second != 1 {
		t.Errorf("the server was asked %d and %d times, want 2 at most and 1", first, second)
	}
}

// TestTrust02WhoLeavesLeavesNoRequestBehind: the server goes on with a request whose client has gone, so no
// further request is sent on top of it, however often clients come and go.
func TestTrust02WhoLeavesLeavesNoRequestBehind(t *testing.T) {
	s := namesSlowly(t)
	var asking sync.WaitGroup
	for i := range 20 {
		ctx, leave := context.WithCancel(t.Context())
		left := atomic.Bool{}
		asking.Go(func() {
			if _, err := s.log.Channels(ctx, "app-1", ""); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
			left.Store(true)
		})
		awaitTrue(t, "it is asked", func() bool { return s.of("app-1") == 1 && (i == 0 || s.log.listings.Waiting() == 1) })
		leave()
		awaitTrue(t, "he has left", func() bool { return s.log.listings.Waiting() == 0 && (i == 0 || left.Load()) })
	}
	s.may <- struct{}{}
	asking.Wait()
	if got := s.of("app-1"); got != 1 {
		t.Errorf("the server was asked %d times", got)
	}
}

// TestTrust02ASlowServerIsNotAskedAgain: the earlier request is still queued at the server.
func TestTrust02ASlowServerIsNotAskedAgain(t *testing.T) {
	s := namesSlowly(t)
	// The time-out may end before the request is sent, so it is doubled until the server has got one.
	for s.log.reader.naming = time.Millisecond; s.of("app-1") == 0; s.log.reader.naming *= 2 {
		if _, err := s.log.Channels(t.Context(), "app-1", ""); !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("a server that is slow: %v", err)
		}
		s.settled(t)
	}
	if got := s.of("app-1"); got != 1 {
		t.Errorf("asked %d times", got)
	}
	s.log.cancel()
	if _, err := s.log.Channels(t.Context(), "app-1", ""); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("a log that is closed: %v", err)
	}
}
