package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPusherFeaturesWithStockLibraries runs an application with the stock client and the official server SDK.
func TestPusherFeaturesWithStockLibraries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, `
apps:
  - {id: app-id, key: app-key, secret: app-secret, enable_client_messages: true, enable_user_authentication: true}
`))
	host, port, _ := strings.Cut(s.HTTP, ":")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "features.mjs", host, port)
	cmd.Dir = filepath.Join(root(), "test", "interop")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{
		`{"clientEvent":{"on":true,"text":"é"}}`,
		`{"cacheMiss":true}`,
		`{"cached":{"n":1}}`,
		`{"user":"u-7"}`,
		`{"toUser":{"hello":"Ada"}}`,
		`{"echoed":false}`,
	}
	if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
