package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPageShowsTheDemo does the first five minutes: start, run the demo, look at the page. The screenshot is
// kept if E2E_SCREENSHOT names a file.
func TestPageShowsTheDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	demo := exec.Command(tools.sluice, "demo", "--url", "http://"+s.HTTP, "--interval", "200ms")
	demo.Dir = dir
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = demo.Process.Kill()
		_ = demo.Wait()
	}()
	picture := os.Getenv("E2E_SCREENSHOT")
	if picture == "" {
		picture = filepath.Join(dir, "page.png")
	}
	browser := script(t, "page.mjs", "http://"+s.HTTP+"/", picture)
	var seen struct {
		Events, Deltas int
		Saved          string
		Problems       []string
	}
	browser.line(&seen)
	t.Logf("the page shows %+v", seen)
	if seen.Events < 10 || seen.Deltas == 0 || len(seen.Problems) > 0 {
		t.Errorf("the page shows %+v", seen)
	}
	if info, err := os.Stat(picture); err != nil || info.Size() < 10000 {
		t.Errorf("screenshot: %v", err)
	}
}
