package watch

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock gives times a second apart.
type clock struct{ now time.Time }

func (c *clock) tick() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFilesTellWhatHasSettled goes through the ways in which files are replaced.
func TestFilesTellWhatHasSettled(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"written into", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "two") }},
		{"written into with the same size and time", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "a")
			info, err := os.Stat(path)
			must(t, err)
			write(t, path, "eno")
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		}},
		{"renamed over", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "new"), "two")
			must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "a")))
		}},
		{"removed", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "a"))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			write(t, path, "one")
			now, f := &clock{time.Now()}, &Files{}
			for range 2 {
				if f.Changed(now.tick(), path) {
					t.Fatal("a change was told without one")
				}
			}
			c.change(t, dir)
			if f.Changed(now.tick(), path) {
				t.Error("a change was told before it had settled")
			}
			if !f.Changed(now.tick(), path) {
				t.Error("a change was not told")
			}
			if f.Changed(now.tick(), path) {
				t.Error("a change was told twice")
			}
		})
	}
}

// TestFilesFollowLinksThatAreSwapped replaces files like a mounted secret: the names are links through a link
// to a directory, which is replaced atomically.
func TestFilesFollowLinksThatAreSwapped(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a permission there")
	}
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "crt"), "certificate "+version)
		write(t, filepath.Join(dir, version, "key"), "key "+version)
		// as if both had been there for long
		for _, name := range []string{"crt", "key"} {
			must(t, os.Chtimes(filepath.Join(dir, version, name), time.Unix(1, 0), time.Unix(1, 0)))
		}
	}
	must(t, os.Symlink("1", filepath.Join(dir, "data")))
	var paths []string
	for _, name := range []string{"crt", "key"} {
		paths = append(paths, filepath.Join(dir, name))
		must(t, os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)))
	}
	now, f := &clock{time.Now()}, &Files{}
	f.Changed(now.tick(), paths...)
	f.Changed(now.tick(), paths...)
	must(t, os.Symlink("2", filepath.Join(dir, "data.new")))
	must(t, os.Rename(filepath.Join(dir, "data.new"), filepath.Join(dir, "data")))
	f.Changed(now.tick(), paths...)
	if !f.Changed(now.tick(), paths...) {
		t.Error("the swap was not told")
	}
}

// TestFilesWaitForBothOfAPair changes one file, and the other one a look later.
func TestFilesWaitForBothOfAPair(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	write(t, b, "1")
	now, f := &clock{time.Now()}, &Files{}
	f.Changed(now.tick(), a, b)
	write(t, a, "2")
	f.Changed(now.tick(), a, b)
	write(t, b, "2")
	if f.Changed(now.tick(), a, b) {
		t.Error("told between the two")
	}
	if !f.Changed(now.tick(), a, b) {
		t.Error("not told after both")
	}
	write(t, a, "3")
	f.Changed(now.tick(), a, b)
	write(t, a, "2")
	f.Changed(now.tick(), a, b)
	if f.Changed(now.tick(), a, b) {
		t.Error("there and back again is no change")
	}
}

// TestFilesMayBeOthers looks at other files later, as when a configuration names further ones.
func TestFilesMayBeOthers(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	now, f := &clock{time.Now()}, &Files{}
	f.Changed(now.tick(), a)
	f.Changed(now.tick(), a, b)
	if !f.Changed(now.tick(), a, b) {
		t.Error("a further file is a change")
	}
	write(t, b, "1")
	f.Changed(now.tick(), a, b)
	if !f.Changed(now.tick(), a, b) {
		t.Error("a file that appears is a change")
	}
}
