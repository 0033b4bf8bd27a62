package kv_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/kv"
)

func TestOpenBucketAdjustsWhatMayChange(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	for _, o := range []kv.BucketOptions{
		{Name: "b"},
		{Name: "b"},
		{Name: "b", TTL: time.Minute},
		{Name: "b", TTL: time.Hour, Republish: "x.y.>", MaxBytes: 1 << 20, MaxValueBytes: 100},
		{Name: "b", TTL: time.Hour, Republish: "z.>", Replicas: 1},
		{Name: "b"},
	} {
		openBucket(t, js, o)
		s, err := js.Stream(t.Context(), "KV_b")
		if err != nil {
			t.Fatal(err)
		}
		got := s.CachedInfo().Config
		type settings struct {
			TTL       time.Duration
			MaxBytes  int64
			Republish string
		}
		have := settings{TTL: got.MaxAge, MaxBytes: max(got.MaxBytes, 0)}
		if got.RePublish != nil {
			have.Republish = got.RePublish.Destination
		}
		if diff := cmp.Diff(have, settings{o.TTL, o.MaxBytes, o.Republish}); diff != "" {
			t.Errorf("after opening with %+v, got (-) and want (+):\n%s", o, diff)
		}
	}
}

func TestOpenBucketByManyAtOnce(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = kv.OpenBucket(t.Context(), js, kv.BucketOptions{Name: "b", TTL: time.Minute, Republish: "x.>"})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestOpenBucketLeavesOthersAlone(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	ctx := t.Context()
	for field, cfg := range map[string]jetstream.KeyValueConfig{
		"storage":         {Bucket: "memory", Storage: jetstream.MemoryStorage},
		"history per key": {Bucket: "history", History: 5},
	} {
		if _, err := js.CreateKeyValue(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		_, err := kv.OpenBucket(ctx, js, kv.BucketOptions{Name: cfg.Bucket})
		want(t, field, err, kv.ErrBucketDiffers)
		if err != nil && !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_stream", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := kv.OpenBucket(ctx, js, kv.BucketOptions{Name: "stream"})
	want(t, "a stream that is no bucket", err, kv.ErrBucketDiffers)
}

func TestBucketOptionsOutOfRangeAreNamed(t *testing.T) {
	for field, o := range map[string]kv.BucketOptions{
		"Name":          {Name: "a.b"},
		"TTL":           {Name: "b", TTL: time.Millisecond},
		"Replicas":      {Name: "b", Replicas: 6},
		"MaxBytes":      {Name: "b", MaxBytes: -1},
		"MaxValueBytes": {Name: "b", MaxValueBytes: -1},
		"Republish":     {Name: "b", Republish: "no.wildcard"},
		"Republish is":  {Name: "b", Republish: "*.>"},
	} {
		_, err := kv.OpenBucket(t.Context(), nil, o)
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// slowToKnow claims for a while that a newly made stream does not exist, like a server of a cluster that has
// not learned of it yet.
type slowToKnow struct {
	jetstream.JetStream
	asked int
}

func (s *slowToKnow) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s.asked++; s.asked < 5 {
		return nil, jetstream.ErrStreamNotFound
	}
	return s.JetStream.Stream(ctx, name)
}

// TestRun10ABucketThatNotAllServersKnowYet: this happened when three gateways started at once on a new
// cluster. Before, two of them ended.
func TestRun10ABucketThatNotAllServersKnowYet(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	if _, err := kv.OpenBucket(t.Context(), &slowToKnow{JetStream: js}, kv.BucketOptions{Name: "b"}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := kv.OpenBucket(ctx, &slowToKnow{JetStream: js, asked: -1000}, kv.BucketOptions{Name: "b"})
	unknown(t, err)
}

// unknown checks for an error that may pass. An error that there is no stream would be permanent.
func unknown(t *testing.T, err error) {
	t.Helper()
	var api *jetstream.APIError
	if !errors.Is(err, kv.ErrUnavailable) || errors.As(err, &api) {
		t.Errorf("got %v", err)
	}
}

// TestRun10AStreamThatNotAllServersKnowYet: the same with the stream of an app. One gateway creates it, and
// the server that another gateway asks says both that it exists and that it does not.
func TestRun10AStreamThatNotAllServersKnowYet(t *testing.T) {
	_, _, js := startServer(t, t.TempDir())
	one := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Metadata: map[string]string{"of": "one"}}
	if _, err := js.CreateStream(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	two := one
	two.Metadata = map[string]string{"of": "two"}
	found, err := kv.MakeStream(t.Context(), &slowToKnow{JetStream: js}, two)
	if err != nil || found.CachedInfo().Config.Metadata["of"] != "one" {
		t.Errorf("got %v, %v", found, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = kv.MakeStream(ctx, &slowToKnow{JetStream: js, asked: -1000}, two)
	unknown(t, err)
}
