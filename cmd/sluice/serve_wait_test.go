package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/certs/certstest"
	"github.com/sluicehq/sluice/streams/embedded"
)

// TestWeeks01AStartThatCannotProvisionKeepsItsServer: a fault in the embedded server is repaired with the
// nats command, for which the server must be running.
func TestWeeks01AStartThatCannotProvisionKeepsItsServer(t *testing.T) {
	for name, make := range map[string]func(ctx context.Context, js jetstream.JetStream) (string, error){
		"a sealed log": func(ctx context.Context, js jetstream.JetStream) (string, error) {
			c := jetstream.StreamConfig{Name: "CH_one", Subjects: []string{"ch.one.>"}}
			_, err := js.CreateStream(ctx, c)
			if c.Sealed = true; err == nil {
				_, err = js.UpdateStream(ctx, c)
			}
			return c.Name, err
		},
		"a bucket of others": func(ctx context.Context, js jetstream.JetStream) (string, error) {
			_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "cluster", History: 9})
			return "KV_cluster", err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stream := prepare(t, dir, make)
			file := writeFile(t, "c.yaml", fmt.Sprintf(`mode: production
host: 127.0.0.1
port: 0
metrics: {port: 0}
shutdown: {ready_delay_seconds: 0}
nats: {start_timeout: 1m, embedded: {port: 0, store_dir: %q}}
apps: [{id: one, key: k, secret: s}]
`, dir))
			c := start(t, nil, "serve", "--config", file)
			c.errors.await(t, "the NATS server stays")
			line := c.errors.String()
			http, nc := matched(t, line, `http=(\S+)`), matched(t, line, `nats=(\S+)`)
			await(t, "/ready names the stream", func() bool {
				status, text := ask(t, http, "/ready")
				return status == 503 && strings.Contains(text, stream[3:]) && strings.Contains(text, "nats.prefix")
			})
			// A request to reload the configuration must not end it.
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if status, text := ask(t, matched(t, line, `metrics=(\S+)`), "/health"); status != 200 {
				t.Errorf("the port of metrics answers %d: %s", status, text)
			}
			await(t, "/health says that it lives", func() bool { status, _ := ask(t, http, "/health"); return status == 200 })
			js := jetStreamAt(t, nc)
			if err := js.DeleteStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			c.errors.await(t, "sluice is serving")
			serving := c.errors.String()[strings.Index(c.errors.String(), "sluice is serving"):]
			http = matched(t, serving, `http=(\S+)`)
			await(t, "it is ready once it was mended", func() bool { status, _ := ask(t, http, "/ready"); return status == 200 })
			c.interrupt()
			if status := c.wait(); status != exitOK {
				t.Errorf("the status is %d: %s", status, c.errors)
			}
		})
	}
}

// TestAStartThatWaitsAnswersOverTLS: while the log is being repaired, the main port speaks TLS with the
// configured certificate or one of an ACME authority, whose challenges are answered, and the plain HTTP port
// answers as well.
func TestAStartThatWaitsAnswersOverTLS(t *testing.T) {
	sealed := func(ctx context.Context, js jetstream.JetStream) (string, error) {
		c := jetstream.StreamConfig{Name: "CH_one", Subjects: []string{"ch.one.>"}}
		_, err := js.CreateStream(ctx, c)
		if c.Sealed = true; err == nil {
			_, err = js.UpdateStream(ctx, c)
		}
		return c.Name, err
	}
	held, text := freePort(t)
	port, err := strconv.Atoi(text)
	if err = errors.Join(err, held.Close()); err != nil {
		t.Fatal(err)
	}
	files, acme := certstest.New(t), certstest.NewACME(t, 1, port)
	cert, key, _ := files.Files(t.TempDir())
	for name, c := range map[string]struct {
		port    int
		lines   string
		trusted *tls.Config
	}{
		"files": {0, fmt.Sprintf("cert_file: %q, key_file: %q", cert, key), &tls.Config{RootCAs: files.Roots(), ServerName: "localhost", MinVersion: tls.VersionTLS12}},
		"an authority": {
			port, fmt.Sprintf("acme: {domains: [ws.sluice.test], directory_url: %q, ca_file: %q, storage_dir: %q}", acme.Directory, acme.CAFile, t.TempDir()),
			&tls.Config{RootCAs: certstest.Trust(acme.Root()), ServerName: "ws.sluice.test", MinVersion: tls.VersionTLS12},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stream := prepare(t, dir, sealed)
			file := writeFile(t, "c.yaml", fmt.Sprintf(`mode: production
host: 127.0.0.1
port: %d
metrics: {port: -1}
shutdown: {ready_delay_seconds: 0}
tls: {http_port: 0, %s}
nats: {start_timeout: 1m, embedded: {port: 0, store_dir: %q}}
apps: [{id: one, key: k, secret: s}]
`, c.port, c.lines, dir))
			run := start(t, nil, "serve", "--config", file)
			run.errors.await(t, "the NATS server stays")
			line := run.errors.String()
			address, plain, nc := matched(t, line, `http=(\S+)`), matched(t, line, `plain=(\S+)`), matched(t, line, `nats=(\S+)`)
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.trusted}}
			await(t, "/ready says over TLS why it waits", func() bool {
				status, text := askWith(t, client, "https://"+address+"/ready")
				return status == 503 && strings.Contains(text, "one")
			})
			if status, text := askWith(t, client, "https://"+address+"/health"); status != 200 {
				t.Errorf("/health over TLS: %d %s", status, text)
			}
			if status, text := ask(t, plain, "/ready"); status != 503 || !strings.Contains(text, "one") {
				t.Errorf("/ready at the port for plain HTTP: %d %s", status, text)
			}
			if status, text := ask(t, address, "/health"); status == 200 {
				t.Errorf("the port for TLS answers plain HTTP: %s", text)
			}
			if err := jetStreamAt(t, nc).DeleteStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			run.errors.await(t, "sluice is serving")
			address = matched(t, run.errors.String()[strings.Index(run.errors.String(), "sluice is serving"):], `http=(\S+)`)
			await(t, "it is ready over TLS once it was mended", func() bool {
				status, _ := askWith(t, client, "https://"+address+"/ready")
				return status == 200
			})
			run.interrupt()
			if status := run.wait(); status != exitOK {
				t.Errorf("the status is %d: %s", status, run.errors)
			}
		})
	}
}

// prepare creates a store with a stream.
func prepare(t *testing.T, dir string, make func(context.Context, jetstream.JetStream) (string, error)) string {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{Host: "127.0.0.1", Port: -1, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	stream, err := make(t.Context(), jetStreamAt(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func jetStreamAt(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func matched(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s is not in %s", pattern, text)
	}
	return found[1]
}

// ask returns the status and the text of a response, or 0 and the error.
func ask(t *testing.T, address, path string) (int, string) {
	t.Helper()
	return askWith(t, &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+address+path)
}

func askWith(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(body)
}
