package rest

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestRun06EveryRouteIsFoundByItsPath(t *testing.T) {
	names := Routes()
	for _, e := range Endpoints() {
		path := strings.NewReplacer("{app_id}", "an%20app", "{channel}", "a%2Fb", "{user_id}", "a%2Fb").Replace(e.Path)
		r, app, variable, ok := find(path)
		if !ok || r.name != e.Name || r.method != e.Method || app != "an app" || !slices.Contains(names, e.Name) {
			t.Errorf("%s: found %s of %q, %v", path, r.name, app, ok)
		}
		if want := strings.Contains(path, "%2F"); (variable == "a/b") != want {
			t.Errorf("%s: the variable is %q", path, variable)
		}
	}
	if len(names) != 11 {
		t.Errorf("there are %d routes", len(names))
	}
	for path, want := range map[string]string{
		"/apps/a/users/x/y/terminate_connections": "x/y",
		"/apps/a/users/x/terminate_connections":   "x",
		"/apps/a/users//terminate_connections":    "",
		"/apps/a/channels//history":               "",
	} {
		if _, _, got, ok := find(path); !ok || got != want {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for _, path := range []string{"/apps/", "/apps/a", "/apps/a/", "/apps/a/eventss", "/apps/a/events/", "/apps/a/users/terminate_connections", "/apps/a/channels/c/history/", "/apps/a/channels/c/history/purges", "/apps/a/channels/%zz"} {
		if r, _, _, ok := find(path); ok {
			t.Errorf("%s is %s", path, r.name)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	path := "/apps/" + url.PathEscape("app id") + "/events"
	b.ReportAllocs()
	for b.Loop() {
		find(path)
	}
}
