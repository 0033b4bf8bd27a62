package configs

import (
	"strings"
	"testing"
)

func TestBodiesHaveRoomForTheLargest(t *testing.T) {
	for body, want := range map[string]int64{"": 64 << 20, "1048576": 64 << 20, "33554432": 128 << 20} {
		var environ []string
		if body != "" {
			environ = []string{"SLUICE_HTTP_MAX_BODY=" + body}
		}
		if c := load(t, Sources{Environ: environ}); c.HTTP.MaxBodies != want || c.values["http.max_bodies"] != want {
			t.Errorf("http.max_body %q: got %d, want %d", body, c.HTTP.MaxBodies, want)
		}
	}
	got := problemsOf(t, Sources{Environ: []string{"SLUICE_HTTP_MAX_BODY=1048576", "SLUICE_HTTP_MAX_BODIES=4194303"}})
	if len(got) != 1 || !strings.Contains(got[0], "http.max_bodies is 4194303, must be 4194304 or more") {
		t.Errorf("got %q", got)
	}
}
