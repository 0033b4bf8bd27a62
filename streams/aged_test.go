package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/fault"
)

// TestTrust15WhatAgedStaysGone fills a bucket of checkpoints and a queue of work, waits until every entry has
// expired or is done, and starts a server on a copy of the disk at that moment, as after kill -9. No write of
// any key reappears.
func TestTrust15WhatAgedStaysGone(t *testing.T) {
	fault.Seeds(t, 15, func(t *testing.T, rnd *rand.Rand) {
		const keys, age = 20, 5 * time.Second
		dir := filepath.Join(t.TempDir(), "store")
		l := open(t, options(node(t, dir)))
		bucket, err := kv.OpenBucket(t.Context(), l.js, kv.BucketOptions{Name: "aged", TTL: age})
		if err != nil {
			t.Fatal(err)
		}
		table, err := l.OpenTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		work, err := l.OpenWork(t.Context(), "one", table)
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			revision, err := bucket.Create(t.Context(), fmt.Sprint("k", i), []byte("x"))
			for range rnd.IntN(4) {
				if err == nil {
					revision, err = bucket.Update(t.Context(), fmt.Sprint("k", i), []byte("x"), revision)
				}
			}
			if err == nil && rnd.IntN(3) == 0 {
				err = bucket.Delete(t.Context(), fmt.Sprint("k", i), 0)
			}
			if err == nil {
				_, err = work.Put(t.Context(), "done", broker.Task{ID: fmt.Sprint(i), Body: []byte("x")})
			}
			if err == nil {
				_, err = work.Put(t.Context(), "aged", broker.Task{ID: fmt.Sprint(i), Body: []byte("x")})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		doAll(t, work, "done", keys)
		stream, err := l.js.Stream(t.Context(), work.stream)
		if err != nil {
			t.Fatal(err)
		}
		shorter := stream.CachedInfo().Config
		shorter.MaxAge, shorter.Duplicates = age, age
		if _, err := l.js.UpdateStream(t.Context(), shorter); err != nil {
			t.Fatal(err)
		}
		stored := func(log *Log, name string) uint64 {
			s, err := log.js.Stream(t.Context(), name)
			if err != nil {
				return 1
			}
			return s.CachedInfo().State.Msgs
		}
		awaitTrue(t, "everything has gone", func() bool { return stored(l, work.stream) == 0 && stored(l, "KV_aged") == 0 })
		crashed := filepath.Join(t.TempDir(), "crashed")
		if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		after := open(t, options(node(t, crashed)))
		if n, m := stored(after, work.stream), stored(after, "KV_aged"); n != 0 || m != 0 {
			t.Errorf("%d tasks and %d checkpoints are back", n, m)
		}
		if bucket, err = kv.OpenBucket(t.Context(), after.js, kv.BucketOptions{Name: "aged", TTL: age}); err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if e, err := bucket.Get(t.Context(), fmt.Sprint("k", i)); !errors.Is(err, kv.ErrNotFound) {
				t.Errorf("key %d is back: %+v, %v", i, e, err)
			}
		}
	})
}

// doAll takes n tasks of a queue and acknowledges them.
func doAll(t *testing.T, work *Work, queue string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := takeAll(ctx, work, queue, n, func(task broker.Taken) {
		if err := task.Done(ctx); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
			t.Error(err)
		}
		if n--; n == 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
