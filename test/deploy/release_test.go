package deploy

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestRun06AReleaseIsWhole builds one for this machine and looks at what is in it.
func TestRun06AReleaseIsWhole(t *testing.T) {
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "release"), "v1.2.3-test", runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Env = append(os.Environ(), "OUT="+out, "NO_BOM=1", "SOURCE_DATE_EPOCH=1700000000", "REVISION=0123456789abcdef")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	name := "sluice_1.2.3-test_" + runtime.GOOS + "_" + runtime.GOARCH
	archive, err := os.ReadFile(filepath.Join(out, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(archive); !strings.Contains(string(sums), hex.EncodeToString(sum[:])+"  "+name+".tar.gz\n") {
		t.Errorf("the sum is not that of the archive: %s", sums)
	}
	files := unpacked(t, archive)
	for _, want := range []string{
		"sluice", "LICENSE", "README.md", "CHANGELOG.md", "man/sluice.1", "man/sluice-serve.1", "man/sluice-publish.1",
		"completions/sluice.bash", "completions/sluice.zsh", "completions/sluice.fish", "completions/sluice.powershell",
	} {
		if len(files[name+"/"+want]) == 0 {
			t.Errorf("%s is missing", want)
		}
	}
	if page := string(files[name+"/man/sluice.1"]); !strings.Contains(page, "Nov 2023") || !strings.Contains(page, "Sluice v1.2.3-test") {
		t.Errorf("the page is of another time or version: %.200s", page)
	}
	program := filepath.Join(t.TempDir(), "sluice")
	if err := os.WriteFile(program, files[name+"/sluice"], 0o755); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), program, "version").Output()
	first, _, _ := bufio.NewReader(bytes.NewReader(said)).ReadLine()
	if err != nil || string(first) != "sluice v1.2.3-test" || !strings.Contains(string(said), "revision 0123456789abcdef of 2023-11-14T22:13:20Z") {
		t.Errorf("%v: %s", err, said)
	}
}

func unpacked(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for files, last := tar.NewReader(plain), ""; ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name < last || h.Uname != "" || h.Uid != 0 || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s stands behind %s, belongs to %q, and is of %v", h.Name, last, h.Uname, h.ModTime)
		}
		last = h.Name
		if out[h.Name], err = io.ReadAll(files); err != nil {
			t.Fatal(err)
		}
	}
}
