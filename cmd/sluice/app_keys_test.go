package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

// TestAppsAreAddedOnlyWhereTheServerCanOpenThem: an app that the server of the directory cannot decrypt is
// not added. Otherwise the command would report success, and no client could ever use the app.
func TestAppsAreAddedOnlyWhereTheServerCanOpenThem(t *testing.T) {
	const head = "apps: [{id: \"1\", key: a-key, secret: a-secret-of-one}]\nnats: {embedded: {store_dir: \"DIR\"}}\n"
	files := map[string]string{
		"development": "mode: development\n" + head, "without a key": head,
		"with a key": "apps_encryption_key: 0123456789abcdef0123456789abcdef\n" + head,
	}
	for server := range files {
		dir := t.TempDir()
		path := func(of string) string { return filepath.Join(dir, strings.ReplaceAll(of, " ", "-")+".yaml") }
		for of, text := range files {
			if err := os.WriteFile(path(of), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := configs.Load(configs.Sources{File: path(server)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := embedded.Start(t.Context(), embedded.Options{Port: -1, StoreDir: dir, Logger: slog.New(slog.DiscardHandler),
			Keeps: []string{streams.TableSubject("", shelf.Records)}, Mark: sealMark(c)})
		if err != nil {
			t.Fatal(err)
		}
		// A development server has run here once, so that its key is available to every command.
		if _, err := ownKey(dir, true); err != nil {
			t.Fatal(err)
		}
		for command := range files {
			if command == "without a key" {
				continue // it is refused before a server is contacted
			}
			status, out, said := execute(t, "", "app", "add", "shop", "--config", path(command), "--nats-embedded-store-dir", dir)
			if (status == exitOK) != (server == command) {
				t.Errorf("a server %s, a command %s: status %d, %s%s", server, command, status, out, said)
			}
			if server != command && !strings.Contains(said, "the server on the directory "+dir) {
				t.Errorf("a server %s, a command %s: %s", server, command, said)
			}
		}
		s.Shutdown()
	}
}
