package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAppsOfTheClusterTakeNoVariables: a variable that is not expanded would itself be the secret, which
// anybody can read.
func TestAppsOfTheClusterTakeNoVariables(t *testing.T) {
	for _, set := range []string{"secret=${APP_SECRET}", "allowed_origins=[\"https://${HOST}\"]", "webhooks=[{url: \"https://x/${T}\"}]"} {
		if err := settle(map[string]any{}, []string{set}); err == nil {
			t.Errorf("%s was taken", set)
		}
	}
	if err := settle(map[string]any{}, []string{"secret=a$b{c}"}); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte("secret: ${APP_SECRET}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, said := execute(t, "", "app", "add", "shop", "--file", file); status != exitUsage {
		t.Errorf("a file with a variable: status %d, %s%s", status, out, said)
	}
}
