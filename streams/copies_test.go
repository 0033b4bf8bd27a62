package streams

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestMoreCopiesThanAServerKeepsAreRefused: a server without a cluster accepts an edit to several replicas
// and keeps one. Retain and Open refuse more replicas than the server keeps.
func TestMoreCopiesThanAServerKeepsAreRefused(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	first := open(t, options(s))
	refused := func(err error) {
		t.Helper()
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != notReplicated.ErrorCode {
			t.Errorf("several copies on one server: %v", err)
		}
	}
	refused(first.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 100, Replicas: 3}}))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	opt := options(s)
	opt.Replicas, opt.StartTimeout = 3, time.Second
	_, err := Open(t.Context(), opt)
	refused(err)
	opt = options(s)
	opt.Apps[0].Replicas, opt.Apps[1].Replicas, opt.StartTimeout = 3, 3, time.Second
	second, err := Open(t.Context(), opt)
	if err == nil {
		t.Cleanup(func() { _ = second.Close() })
		if h := second.Health(); h.Level != broker.LevelProcess || h.Ready {
			t.Errorf("apps with several copies on one server: %+v", h)
		}
	}
}

// TestCopiesAreThoseThatThereAre: the number of replicas is that of the stream at work, even if the stream's
// configuration was edited to another number.
func TestCopiesAreThoseThatThereAre(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	for _, n := range []string{StreamOf("app-1"), StreamOf("app.2 ü")} {
		stream, err := l.admin.Stream(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		c.Replicas = 3
		if _, err := l.js.now().UpdateStream(t.Context(), c); err != nil {
			t.Skipf("this server does not take it: %v", err)
		}
	}
	opt := options(s)
	opt.Replicas = 1
	opt.Apps[0].Replicas, opt.Apps[1].Replicas = 3, 3
	second := open(t, opt)
	h := second.Health()
	if h.Level != broker.LevelProcess || !strings.Contains(strings.Join(h.Problems, "\n"), "num_replicas is 3, but there is one copy") {
		t.Errorf("three copies by their settings on one server: %+v", h)
	}
	holdings, _ := second.Holdings(t.Context())
	for _, held := range holdings {
		if held.Copies != 1 {
			t.Errorf("%s is said to have %d copies", held.Name, held.Copies)
		}
	}
	for _, test := range []struct {
		replicas int
		cluster  *jetstream.ClusterInfo
		want     int
	}{
		{3, nil, 1},
		{3, &jetstream.ClusterInfo{Leader: "a"}, 1},
		{3, &jetstream.ClusterInfo{Name: "c", Leader: "a"}, 1},
		{3, &jetstream.ClusterInfo{Name: "c", Leader: "a", Replicas: make([]*jetstream.PeerInfo, 2)}, 3},
		{1, &jetstream.ClusterInfo{Name: "c", Leader: "a", Replicas: make([]*jetstream.PeerInfo, 2)}, 1},
		{3, &jetstream.ClusterInfo{Name: "c", Replicas: make([]*jetstream.PeerInfo, 3)}, 3},
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: test.replicas}, Cluster: test.cluster}
		if got := copiesOf(info); got != test.want {
			t.Errorf("%d of %+v: %d copies, want %d", test.replicas, test.cluster, got, test.want)
		}
	}
}
