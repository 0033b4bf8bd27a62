package kv_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const patience = 3 * time.Minute

// startServer runs a NATS server in this process, with its store in dir.
func startServer(t *testing.T, dir string) (stop func(), nc *nats.Conn, js jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: dir,
		JetStreamMaxMemory: 16 << 20, JetStreamMaxStore: 1 << 30,
		NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	stop = sync.OnceFunc(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	t.Cleanup(stop)
	if !s.ReadyForConnections(patience) || !s.JetStreamEnabled() {
		t.Fatal("the NATS server did not start")
	}
	nc, err = nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(0), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return stop, nc, js
}

func openBucket(t *testing.T, js jetstream.JetStream, opts kv.BucketOptions) *kv.Bucket {
	t.Helper()
	b, err := kv.OpenBucket(t.Context(), js, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v in vain: %s", patience, what)
		case <-tick.C:
		}
	}
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got %v, want %v", what, err, target)
	}
}

func TestStore(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "store", MaxValueBytes: 1000})
	ctx := t.Context()

	t.Run("a value that was created can be read", func(t *testing.T) {
		before := time.Now().Add(-time.Second)
		rev, err := b.Create(ctx, "a.b", []byte("one"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(ctx, "a.b")
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Value) != "one" || got.Revision != rev || got.Time.Before(before) {
			t.Errorf("got %+v, want value one at revision %d, written now", got, rev)
		}
	})

	t.Run("a key that is not there is not found", func(t *testing.T) {
		_, err := b.Get(ctx, "missing")
		want(t, "Get", err, kv.ErrNotFound)
		for _, revision := range []uint64{0, 1} {
			_, err = b.Update(ctx, "missing", nil, revision)
			want(t, fmt.Sprint("Update of revision ", revision), err, kv.ErrConflict)
		}
		if err := b.Delete(ctx, "missing", 0); err != nil {
			t.Errorf("Delete: %v", err)
		}
	})

	t.Run("a key can be created once", func(t *testing.T) {
		if _, err := b.Create(ctx, "once", []byte("1")); err != nil {
			t.Fatal(err)
		}
		_, err := b.Create(ctx, "once", []byte("2"))
		want(t, "Create again", err, kv.ErrConflict)
	})

	t.Run("a write must name the present revision", func(t *testing.T) {
		first, err := b.Create(ctx, "cas", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.Update(ctx, "cas", []byte("2"), first)
		if err != nil {
			t.Fatal(err)
		}
		if second <= first {
			t.Errorf("revision %d follows %d", second, first)
		}
		for _, stale := range []uint64{0, first, second + 1} {
			_, err := b.Update(ctx, "cas", []byte("3"), stale)
			want(t, fmt.Sprint("Update of revision ", stale), err, kv.ErrConflict)
		}
		want(t, "Delete of a stale revision", b.Delete(ctx, "cas", first), kv.ErrConflict)
		got, err := b.Get(ctx, "cas")
		if err != nil || string(got.Value) != "2" {
			t.Errorf("got %q and %v, want 2", got.Value, err)
		}
	})

	t.Run("a key can be created again after it was deleted", func(t *testing.T) {
		rev, err := b.Create(ctx, "again", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(ctx, "again", rev); err != nil {
			t.Fatal(err)
		}
		_, err = b.Get(ctx, "again")
		want(t, "Get", err, kv.ErrNotFound)
		_, err = b.Update(ctx, "again", []byte("2"), rev)
		want(t, "Update", err, kv.ErrConflict)
		next, err := b.Create(ctx, "again", []byte("3"))
		if err != nil || next <= rev {
			t.Errorf("created at revision %d after %d, %v", next, rev, err)
		}
	})

	t.Run("an empty value is a value", func(t *testing.T) {
		if _, err := b.Create(ctx, "empty", nil); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(ctx, "empty"); err != nil || len(got.Value) != 0 {
			t.Errorf("got %q and %v", got.Value, err)
		}
	})

	t.Run("a value of the limit fits and one beyond does not", func(t *testing.T) {
		rev, err := b.Create(ctx, "size", make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		if rev, err = b.Update(ctx, "size", make([]byte, 1000), rev); err != nil {
			t.Fatal(err)
		}
		_, err = b.Update(ctx, "size", make([]byte, 1001), rev)
		want(t, "Update", err, kv.ErrTooLarge)
		_, err = b.Create(ctx, "size2", make([]byte, 1001))
		want(t, "Create", err, kv.ErrTooLarge)
	})

	t.Run("a key that needs encoding is refused", func(t *testing.T) {
		for _, key := range []string{"", ".", ".a", "a.", "a..b", "a b", "a*", ">", "a:b", "é", "a\n", "\x00", strings.Repeat("x", kv.MaxKeyBytes+1)} {
			_, err := b.Get(ctx, key)
			want(t, fmt.Sprintf("Get %.20q", key), err, kv.ErrInvalidKey)
			_, err = b.Create(ctx, key, nil)
			want(t, fmt.Sprintf("Create %.20q", key), err, kv.ErrInvalidKey)
			_, err = b.Update(ctx, key, nil, 1)
			want(t, fmt.Sprintf("Update %.20q", key), err, kv.ErrInvalidKey)
			want(t, fmt.Sprintf("Delete %.20q", key), b.Delete(ctx, key, 0), kv.ErrInvalidKey)
		}
	})

	t.Run("encoded names are keys, all different", func(t *testing.T) {
		names := []string{"", "a.b", "*", ">", "ticker:AAPL", "=2E", ".", "é", "\x00\xff", strings.Repeat("é", 100)}
		for _, n := range names {
			if _, err := b.Create(ctx, name.Key("app")+"."+name.Key(n), []byte(n)); err != nil {
				t.Errorf("Create for %q: %v", n, err)
			}
		}
		for _, n := range names {
			got, err := b.Get(ctx, name.Key("app")+"."+name.Key(n))
			if err != nil || string(got.Value) != n {
				t.Errorf("for %q: got %q and %v", n, got.Value, err)
			}
		}
	})

	t.Run("increments by compare-and-set are never lost", func(t *testing.T) {
		if _, err := b.Create(ctx, "count", []byte("0")); err != nil {
			t.Fatal(err)
		}
		const writers, each = 4, 25
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for done := 0; done < each && errs[w] == nil; {
					e, err := b.Get(ctx, "count")
					if err == nil {
						n, _ := strconv.Atoi(string(e.Value))
						_, err = b.Update(ctx, "count", []byte(strconv.Itoa(n+1)), e.Revision)
					}
					switch {
					case err == nil:
						done++
					case !errors.Is(err, kv.ErrConflict):
						errs[w] = err
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if e, err := b.Get(ctx, "count"); err != nil || string(e.Value) != strconv.Itoa(writers*each) {
			t.Errorf("got %s and %v, want %d", e.Value, err, writers*each)
		}
	})

	t.Run("one of several creators wins", func(t *testing.T) {
		for round := range 10 {
			key := fmt.Sprint("race-", round)
			if round%2 == 1 {
				// The library handles a key with a delete marker in another way.
				if err := b.Delete(ctx, key, 0); err != nil {
					t.Fatal(err)
				}
			}
			errs := make([]error, 4)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() { _, errs[i] = b.Create(ctx, key, []byte{byte(i)}) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else {
					want(t, "the loser", err, kv.ErrConflict)
				}
			}
			if won != 1 {
				t.Errorf("%d creators won, want 1", won)
			}
		}
	})
}

func TestValuesExpire(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "leases", TTL: kv.MinTTL})
	rev, err := b.Create(t.Context(), "lease", []byte("mine"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the value expires", func() bool {
		_, err := b.Get(t.Context(), "lease")
		return errors.Is(err, kv.ErrNotFound)
	})
	_, err = b.Update(t.Context(), "lease", []byte("still mine"), rev)
	want(t, "Update of an expired value", err, kv.ErrConflict)
	if _, err := b.Create(t.Context(), "lease", []byte("yours")); err != nil {
		t.Errorf("Create of an expired key: %v", err)
	}
}

func TestWritesAreRepublished(t *testing.T) {
	_, nc, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "counters", Republish: "rtctr.>"})
	sub, err := nc.SubscribeSync("rtctr.app.ch")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := b.Create(t.Context(), "app.ch", []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if got := msg.Header.Get("Nats-Sequence"); string(msg.Data) != "state" || got != fmt.Sprint(rev) {
		t.Errorf("got %q at %s, want state at %d", msg.Data, got, rev)
	}
}

// TestManyFollowersShareAGoroutine: a gateway follows a key for each of its channels, so followers must not
// have a goroutine each.
func TestManyFollowersShareAGoroutine(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "followed", Republish: "rtmany.>"})
	before := runtime.NumGoroutine()
	const keys = 200
	seen := make(chan string, keys)
	var stops []func()
	for i := range keys {
		key := fmt.Sprint("k", i)
		stop, err := b.Follow(key, func(kv.Entry) { seen <- key })
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	if n := runtime.NumGoroutine() - before; n > 10 {
		t.Errorf("%d goroutines for %d followers", n, keys)
	}
	for i := range keys {
		key := fmt.Sprint("k", i)
		if _, err := b.Create(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-seen:
			if got != key {
				t.Fatalf("the follower of %s was told of %s", got, key)
			}
		case <-time.After(patience):
			t.Fatalf("the follower of %s was not told", key)
		}
	}
	for _, stop := range stops {
		stop()
		stop()
	}
	// A follower that begins after all others have stopped gets values as well.
	stop, err := b.Follow("k0", func(kv.Entry) { seen <- "k0" })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	e, err := b.Get(t.Context(), "k0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(t.Context(), "k0", nil, e.Revision); err != nil {
		t.Fatal(err)
	}
	select {
	case <-seen:
	case <-time.After(patience):
		t.Fatal("the new follower was not told")
	}
}

func TestFollowersSeeWrites(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "counters", Republish: "rtctr.>"})
	seen := make(chan kv.Entry, 10)
	stop, err := b.Follow("app.ch", func(e kv.Entry) { seen <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	rev, err := b.Create(t.Context(), "app.other", []byte("not this"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if i == 0 {
			rev, err = b.Create(t.Context(), "app.ch", []byte("state"))
		} else {
			rev, err = b.Update(t.Context(), "app.ch", []byte("state"), rev)
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-seen:
			if string(e.Value) != "state" || e.Revision != rev {
				t.Errorf("saw %q at %d, want state at %d", e.Value, e.Revision, rev)
			}
		case <-time.After(patience):
			t.Fatal("the write was not seen")
		}
	}
	// A delete is not delivered as a value.
	if err := b.Delete(t.Context(), "app.ch", rev); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), "app.ch", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if e := <-seen; string(e.Value) != "again" {
		t.Errorf("saw %q, want the next value", e.Value)
	}
	if _, err := openBucket(t, js, kv.BucketOptions{Name: "silent"}).Follow("k", nil); err == nil {
		t.Error("a bucket that does not republish was followed")
	}
}

func TestValuesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	stop, nc, js := startServer(t, dir)
	opts := kv.BucketOptions{Name: "kept", TTL: time.Hour, Republish: "x.>"}
	rev, err := openBucket(t, js, opts).Create(t.Context(), "k", []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	stop()
	_, _, js = startServer(t, dir)
	b := openBucket(t, js, opts)
	got, err := b.Get(t.Context(), "k")
	if err != nil || string(got.Value) != "v" || got.Revision != rev {
		t.Errorf("got %+v and %v, want v at %d", got, err, rev)
	}
}

func TestStoreThatIsGoneIsUnavailable(t *testing.T) {
	stop, _, js := startServer(t, t.TempDir())
	b := openBucket(t, js, kv.BucketOptions{Name: "gone"})
	calls := func(ctx context.Context) map[string]error {
		errs := map[string]error{"Delete": b.Delete(ctx, "k", 0)}
		_, errs["Get"] = b.Get(ctx, "k")
		_, errs["Create"] = b.Create(ctx, "k", nil)
		_, errs["Update"] = b.Update(ctx, "k", nil, 1)
		_, errs["OpenBucket"] = kv.OpenBucket(ctx, js, kv.BucketOptions{Name: "gone"})
		return errs
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for call, err := range calls(ctx) {
		want(t, call+" with a context that has ended", err, context.Canceled)
	}
	if err := js.DeleteKeyValue(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	errs := calls(t.Context())
	delete(errs, "OpenBucket") // which makes the bucket anew
	for call, err := range errs {
		want(t, call+" of a bucket that was removed", err, kv.ErrUnavailable)
	}
	stop()
	for call, err := range calls(t.Context()) {
		want(t, call+" without a server", err, kv.ErrUnavailable)
	}
}
