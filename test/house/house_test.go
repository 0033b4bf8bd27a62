// Package house checks that dependencies point inwards, as the plan in
// docs/architecture.md says.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluicehq/sluice"

// rule says what a package may import. The longest matching prefix of a path
// decides.
type rule struct {
	pkg string
	// own lists the packages of this module, as prefixes.
	own []string
	// inner lists packages below those that are for few.
	inner []string
	// foreign lists modules and packages of others; the standard library is
	// always allowed.
	foreign []string
}

const (
	nats       = "github.com/nats-io/"
	prometheus = "github.com/prometheus/client_golang/"
	gws        = "github.com/lxzan/gws"
	gjson      = "github.com/tidwall/gjson"
	flate      = "github.com/klauspost/compress/flate"
)

var rules = []rule{
	{pkg: "broker"},
	{pkg: "broker/name"},
	{pkg: "broker/rank"},
	{pkg: "broker/rawio"},
	{pkg: "broker/seldom", own: []string{"broker/rank"}},
	{pkg: "broker/secret"},
	{pkg: "broker/follow", own: []string{"broker"}},
	{pkg: "broker/memory", own: []string{"broker"}, inner: []string{"broker/follow"}},
	{pkg: "broker/redis", own: []string{"broker", "kv"}, inner: []string{"broker/follow"}, foreign: []string{"github.com/redis/rueidis"}},
	{pkg: "broker/brokertest", own: []string{"broker"}, foreign: []string{"github.com/google/go-cmp/", "pgregory.net/rapid"}},
	{pkg: "streams", own: []string{"broker", "kv"}, inner: []string{"broker/follow"}, foreign: []string{nats}},
	{pkg: "streams/embedded", own: []string{"broker/seldom"}, foreign: []string{nats, "golang.org/x/sys/"}},
	{pkg: "kv", own: []string{"broker/name", "broker/rank"}, foreign: []string{nats}},
	{pkg: "kv/shape", foreign: []string{nats}},
	{pkg: "kv/kvtest", own: []string{"kv"}},
	{pkg: "delta"},
	{pkg: "gateway", own: []string{"broker", "gateway", "delta", "kv"}, foreign: []string{prometheus, "github.com/pires/go-proxyproto"}},
	{pkg: "gateway/app", own: []string{"broker/secret"}},
	{pkg: "gateway/count", own: []string{"broker", "delta", "kv", "gateway/app", "gateway/pusher"}},
	{pkg: "gateway/backlog"},
	{pkg: "gateway/fanout", own: []string{"broker", "delta", "gateway/app", "gateway/count", "gateway/herald", "gateway/pusher", "gateway/socket", "gateway/trace"}},
	{pkg: "gateway/filters", own: []string{"broker/rank", "gateway/pusher"}},
	{pkg: "gateway/past", own: []string{"broker", "delta", "gateway/app", "gateway/backlog", "gateway/count", "gateway/fanout", "gateway/pusher", "gateway/sight"}},
	{pkg: "gateway/stream", own: []string{"gateway/app", "gateway/pusher", "gateway/socket"}},
	{pkg: "gateway/series", own: []string{"gateway/app"}, foreign: []string{prometheus}},
	{pkg: "gateway/timing", own: []string{"gateway/fanout", "gateway/series"}, foreign: []string{prometheus}},
	{pkg: "gateway/trace"},
	{pkg: "gateway/turns", own: []string{"broker/rank", "gateway/pace"}, foreign: []string{"golang.org/x/time/rate"}},
	{pkg: "gateway/post", own: []string{"broker/rawio"}},
	{pkg: "gateway/process"},
	{pkg: "gateway/pusher", own: []string{"gateway/app"}, foreign: []string{gjson}},
	{pkg: "gateway/duties", own: []string{"broker", "broker/rank"}},
	{pkg: "gateway/hub", own: []string{"broker", "delta", "kv", "gateway/app", "gateway/count", "gateway/duties", "gateway/fanout", "gateway/filters", "gateway/past", "gateway/pusher", "gateway/presence", "gateway/quota", "gateway/sight", "gateway/herald", "gateway/lives", "gateway/pace", "gateway/series", "gateway/socket", "gateway/stream", "gateway/timing", "gateway/trace", "gateway/turns"}, foreign: []string{gws, prometheus, "golang.org/x/time/rate"}},
	{pkg: "gateway/herald", own: []string{"broker", "gateway/app", "gateway/pusher", "gateway/presence", "gateway/webhook"}},
	{pkg: "gateway/quota", own: []string{"broker/rank", "gateway/app", "gateway/presence"}},
	{pkg: "gateway/presence", own: []string{"broker", "kv", "gateway/app", "gateway/pusher"}},
	{pkg: "gateway/pace", foreign: []string{"golang.org/x/time/rate"}},
	{pkg: "gateway/rest", own: []string{"broker", "gateway/app", "gateway/pace", "gateway/pusher", "gateway/lives", "gateway/sight", "gateway/trace"}, foreign: []string{gjson, "golang.org/x/time/rate"}},
	{pkg: "gateway/lives", own: []string{"broker", "kv"}},
	{pkg: "gateway/sight", own: []string{"broker", "gateway/app"}},
	{pkg: "gateway/webhook", own: []string{"broker", "gateway/app", "gateway/pusher", "gateway/series", "gateway/trace"}, foreign: []string{prometheus}},
	{pkg: "gateway/socket", own: []string{"broker/rank"}},
	{pkg: "gateway/socket/websocket", own: []string{"gateway/socket", "broker/rank"}, foreign: []string{flate}},
	{pkg: "gateway/watch"},
	{pkg: "gateway/certs", own: []string{"gateway/watch"}, foreign: []string{"github.com/caddyserver/certmagic", "go.uber.org/zap"}},
	{pkg: "gateway/certs/certstest", foreign: []string{"github.com/letsencrypt/pebble/v2/", "github.com/miekg/dns"}},
	{pkg: "gateway/web"},
	{pkg: "gateway/console", own: []string{"broker", "gateway/app"}},
	{pkg: "gateway/client", own: []string{"delta", "gateway/app", "gateway/pusher"}, foreign: []string{gws, gjson}},
	{pkg: "configs/shelf", own: []string{"broker/name", "broker/secret", "kv"}},
	{pkg: "configs", own: []string{"broker/secret"}, foreign: []string{
		"github.com/pelletier/go-toml/v2", "go.yaml.in/yaml/v3", "github.com/tailscale/hujson", "github.com/spf13/pflag",
		"github.com/knadh/koanf/",
	}},
}

// free packages may import everything; nothing but tests may import them.
var free = []string{"cmd", "test", "scripts"}

func TestDependenciesPointInwards(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if under(path, free) {
			continue
		}
		r := find(path)
		if r == nil {
			t.Errorf("package %s has no place in the plan", path)
			continue
		}
		checked++
		for _, imported := range p.Imports {
			if !allowed(r, path, imported) {
				t.Errorf("package %s imports %s, which the plan does not allow", path, imported)
			}
		}
	}
	if checked < len(rules)/2 {
		t.Fatalf("only %d packages were found: the test looks in the wrong place", checked)
	}
}

func TestPlanRefusesOutwardImports(t *testing.T) {
	for _, c := range []struct{ pkg, imported string }{
		{"gateway", "streams"}, {"gateway/hub", "streams"}, {"gateway", "broker/redis"}, {"gateway", "configs"},
		{"broker", "kv"}, {"delta", "broker"}, {"kv", "broker"}, {"gateway/herald", "gateway/hub"}, {"gateway/presence", "gateway/herald"}, {"gateway/hub", "gateway/webhook"}, {"streams", "gateway/app"}, {"configs", "gateway/app"},
		{"gateway/socket", "gateway/pusher"}, {"gateway/turns", "gateway/hub"}, {"gateway/fanout", "gateway/hub"}, {"gateway/fanout", "gateway/past"}, {"gateway/past", "gateway/hub"}, {"gateway/fanout", "gateway/sight"}, {"gateway/socket/websocket", "gateway/app"},
		{"gateway/console", "gateway/hub"}, {"gateway/console", "gateway/fanout"}, {"gateway/hub", "gateway/console"}, {"gateway/hub", "broker/follow"}, {"broker", "broker/follow"}, {"broker/follow", "streams"}, {"broker/follow", "kv"},
	} {
		if allowed(find(c.pkg), c.pkg, module+"/"+c.imported) {
			t.Errorf("%s may import %s", c.pkg, c.imported)
		}
	}
}

// rooms are the folders of the house. A package finds its place in one of them.
var rooms = []string{"broker", "streams", "kv", "gateway", "delta", "cmd", "configs", "scripts", "test"}

func TestNoRoomIsAdded(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if first, _, _ := strings.Cut(path, "/"); !slices.Contains(rooms, first) {
			t.Errorf("%s is in none of %s", path, strings.Join(rooms, ", "))
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

func find(path string) *rule {
	var best *rule
	for i := range rules {
		r := &rules[i]
		if (path == r.pkg || strings.HasPrefix(path, r.pkg+"/")) && (best == nil || len(r.pkg) > len(best.pkg)) {
			best = r
		}
	}
	return best
}

func allowed(r *rule, path, imported string) bool {
	own, isOurs := strings.CutPrefix(imported, module+"/")
	if isOurs {
		switch {
		case slices.Contains([]string{"broker/redis", "broker/memory", "broker/brokertest", "broker/follow"}, own):
			return slices.Contains(r.inner, own)
		case strings.HasPrefix(own, path+"/"):
			return true
		}
		return under(own, r.own)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true
	}
	for _, f := range r.foreign {
		if strings.HasPrefix(imported, f) {
			return true
		}
	}
	return false
}

func under(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

type listed struct {
	ImportPath, Doc  string
	Imports, GoFiles []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
