package gateway_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestTrust12MetricsGoWithTheirApp: the series of an app end when it is removed, and begin at 0 when it
// returns.
func TestTrust12MetricsGoWithTheirApp(t *testing.T) {
	one := func() *app.App {
		return &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
	}
	apps := app.NewRegistry(one())
	r := run(t, func(o *gateway.Options) { o.Apps = apps })
	series := func() (got []string) {
		t.Helper()
		status, text := r.request("GET", "http://"+r.MetricsAddr()+"/metrics", "")
		if status != 200 {
			t.Fatalf("metrics: %d", status)
		}
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, `app_id="app"`) {
				got = append(got, line)
			}
		}
		return got
	}
	ask := func() {
		r.request("GET", "http://"+r.Addr()+"/apps/app/channels", "")
		r.request("GET", "http://"+r.Addr()+"/app/key", "")
	}
	apply := func(all ...*app.App) {
		apps.Replace(all...)
		if err := r.Apply(context.Background(), app.PerConnection{}); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	counted := func() (lines []string) {
		for _, line := range series() {
			if !strings.HasSuffix(line, " 0") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	before := len(series())
	if before == 0 || len(counted()) == 0 {
		t.Fatalf("%d series before, counted %v", before, counted())
	}
	apply()
	ask()
	if left := series(); len(left) > 0 {
		t.Errorf("series of an app that is gone:\n%s", strings.Join(left, "\n"))
	}
	apply(one())
	if got := counted(); len(got) > 0 {
		t.Errorf("it does not count from 0:\n%s", strings.Join(got, "\n"))
	}
	if len(series()) == 0 {
		t.Error("an app that came back has no series")
	}
}
