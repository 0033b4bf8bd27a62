package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestRun04RedisIsInspectedWithoutATrace: an inspection reports the server and the permissions that its user
// lacks, and leaves no new key.
func TestRun04RedisIsInspectedWithoutATrace(t *testing.T) {
	s := redisserver.Start(t)
	opt := Options{URL: Secret(s.URL()), Apps: []AppOptions{{ID: "a"}}}
	i, err := Inspect(t.Context(), opt)
	if err != nil || len(i.Servers) != 1 || len(i.Denied) > 0 {
		t.Fatalf("%v, %+v", err, i)
	}
	r := i.Servers[0]
	if !strings.Contains(r.Version, ".") || r.Role != "master" || r.Mode != "standalone" || r.Policy != "noeviction" || r.AppendOnly == "" ||
		r.UsedMemory == 0 || r.Ahead.Abs() > r.Doubt+time.Second {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct{ rights, want string }{
		{"~sluice:* &sluice:* +@read +@write +@pubsub +@scripting +@connection +time +info", ""},
		{"~sluice:* &sluice:* +@read +@pubsub +@scripting +@connection +time +info", "+@write"},
		{"~sluice:* &sluice:* +@read +@write +@pubsub +@connection +time +info", "+@scripting"},
		{"~sluice:* +@read +@write +@pubsub +@scripting +@connection +time +info", "&sluice:*"},
		{"~other:* &sluice:* +@read +@write +@pubsub +@scripting +@connection +time +info", "~sluice:*"},
		{"~sluice:* &sluice:* +@read +@write +@pubsub +@scripting +@connection +info", "+time"},
	} {
		s.Do("ACL SETUSER gate reset on >word " + c.rights)
		restricted := opt
		restricted.URL = Secret("redis://gate:word@" + s.Addr())
		i, err := Inspect(t.Context(), restricted)
		if err != nil {
			t.Fatalf("%s: %v", c.rights, err)
		}
		named := c.want == "" && len(i.Denied) == 0
		for _, d := range i.Denied {
			named = named || c.want != "" && strings.Contains(d.Grant, c.want)
		}
		if !named {
			t.Errorf("%s: %+v, want %q", c.rights, i.Denied, c.want)
		}
	}
	if keys := s.Do("DBSIZE"); keys != ":0" && keys != "0" {
		t.Errorf("there are keys: %s", keys)
	}
	opt.URL = "redis://me:hidden@127.0.0.1:1"
	if _, err := Inspect(t.Context(), opt); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestDeadAddressIsNoProblemOfSettings: a cluster is whole, and one of the addresses in redis_url is dead.
// Before, starts failed by chance, and so did checks of the settings, which made all apps unready.
func TestDeadAddressIsNoProblemOfSettings(t *testing.T) {
	t.Parallel()
	url := redisserver.StartCluster(t).URL() + "&addr=127.0.0.1:1"
	for range 5 {
		l := open(t, url, true, silent)
		for range 20 {
			if err := l.inspect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if h := l.Health(); !h.Ready || h.Level == broker.LevelUnknown {
			t.Errorf("%+v", h)
		}
	}
	_, err := Open(t.Context(), Options{URL: Secret(redisserver.Start(t).URL()), Cluster: true, Apps: []AppOptions{{ID: "app-1"}}})
	if err == nil || !strings.Contains(err.Error(), "adapter.driver is redis-cluster") {
		t.Errorf("a server that is no cluster: %v", err)
	}
}
