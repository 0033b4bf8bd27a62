package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// written writes a configuration file that only its owner can read.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// diagnosed runs the doctor and returns its status and report.
func diagnosed(t *testing.T, args ...string) (int, doctor.Report) {
	t.Helper()
	status, out, errors := execute(t, "", append([]string{"doctor", "--json", "--connections", "10"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("status %d, %v\n%s\n%s", status, err, out, errors)
	}
	for _, f := range r.Findings {
		if (f.Level == doctor.Error || f.Level == doctor.Warning) && f.Do == "" {
			t.Errorf("%s of %s does not say what to do: %s", f.Level, f.Check, f.Is)
		}
	}
	return status, r
}

func found(r doctor.Report, level doctor.Level, check, is string) bool {
	for _, f := range r.Findings {
		if f.Level == level && f.Check == check && strings.Contains(f.Is, is) {
			return true
		}
	}
	return false
}

const doctorApp = "apps: [{id: a, key: k, secret: abcdefghijklmnopqrstuvwxyz, allowed_origins: [\"https://example.com\"]}]\n"

// TestRun04DoctorFindsTheFaultsOfAConfiguration: the doctor finds faults of a configuration and ends with an
// exit status for scripts.
func TestRun04DoctorFindsTheFaultsOfAConfiguration(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	good := written(t, doctorApp+fmt.Sprintf("nats: {embedded: {port: 0, store_dir: %q}}\n", t.TempDir()))
	status, r := diagnosed(t, "--config", good)
	if status != exitOK || r.Errors != 0 || r.Version == "" || !found(r, doctor.Fine, "settings", "") || !found(r, doctor.Fine, "synchronising", "4 KiB") && !found(r, doctor.Warning, "synchronising", "") {
		t.Errorf("a good one: status %d, %+v", status, r)
	}
	if _, r := diagnosed(t, "--config", written(t, doctorApp+"prot: 1\n")); !found(r, doctor.Error, "settings", "prot") {
		t.Errorf("an unknown key: %+v", r)
	}
	weak := written(t, "apps: [{id: a, key: k, secret: short}]\n"+fmt.Sprintf("nats: {embedded: {port: 0, store_dir: %q}}\n", t.TempDir()))
	if err := os.Chmod(weak, 0o644); err != nil {
		t.Fatal(err)
	}
	status, r = diagnosed(t, "--config", weak)
	if status != exitOK || r.Warnings < 3 || !found(r, doctor.Warning, "secrets", "5 characters") || !found(r, doctor.Warning, "origins", "") || !found(r, doctor.Warning, "files", "may read") {
		t.Errorf("weak: status %d, %+v", status, r)
	}
	if status, _ := diagnosed(t, "--config", weak, "--strict"); status != exitWarnings {
		t.Errorf("weak and strict: status %d", status)
	}
	status, r = diagnosed(t, "--config", good, "--connections", "100000000")
	if status != exitErrors || !found(r, doctor.Error, "descriptors", "") {
		t.Errorf("too many connections: status %d, %+v", status, r)
	}
	if status, out, errors := execute(t, "", "doctor", "--config", weak, "--brief"); status != exitOK || strings.Contains(out, "fine ") || !strings.Contains(out, "-> ") {
		t.Errorf("status %d\n%s%s", status, out, errors)
	}
	for _, args := range [][]string{{"--connections", "0"}, {"--idle", "1s"}, {"--timeout", "0"}, {"extra"}, {"--url", "https://"}, {"--url", "http://x?y"}, {"--url", "ftp://x"}, {"--url", "http://u:p@x"}} {
		if status, _, _ := execute(t, "", append([]string{"doctor"}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}

// TestDoctorFindsWhatTheStartWouldRefuse: the doctor finds unusable addresses and directories, and says what
// helps.
func TestDoctorFindsWhatTheStartWouldRefuse(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	ports := fmt.Sprintf("port: 0\nmetrics.port: 0\nnats: {embedded: {port: 0, store_dir: %q}}\n", t.TempDir())
	for _, c := range []struct {
		text, check, is, do string
		level               doctor.Level
	}{
		{doctorApp + "host: 127.0.0.1\n" + strings.Replace(ports, "port: 0", fmt.Sprintf("port: %d", port), 1), "addresses", "port is 127.0.0.1:", "another port", doctor.Warning},
		{doctorApp + "host: 127.0.0.1\n" + strings.Replace(ports, "metrics.port: 0", fmt.Sprintf("metrics.port: %d", port), 1), "addresses", "metrics.port is 127.0.0.1:", "another port", doctor.Warning},
		{doctorApp + "host: 192.0.2.1\n" + strings.Replace(ports, "port: 0", "port: 6001", 1), "addresses", "port is 192.0.2.1:6001", "an address of this machine", doctor.Error},
		{doctorApp + "port: 0\nmetrics.port: 0\nnats: {embedded: {port: 0, store_dir: /proc/sluice}}\n", "directory", "/proc/sluice is not there", "", doctor.Error},
		{"apps: [\n", "settings", "line 1", "Correct the text", doctor.Error},
	} {
		status, r := diagnosed(t, "--config", written(t, c.text))
		i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool {
			return f.Level == c.level && f.Check == c.check && strings.Contains(f.Is, c.is) && strings.Contains(f.Do, c.do)
		})
		if i < 0 || (status == exitErrors) != (c.level == doctor.Error) {
			t.Errorf("%s\nstatus %d, %+v", c.text, status, r)
		}
	}
	if _, r := diagnosed(t, "--config", filepath.Join(t.TempDir(), "missing.yaml")); !strings.Contains(r.Findings[0].Do, "Name a file") {
		t.Errorf("no file: %+v", r)
	}
	if _, r := diagnosed(t, "--config", written(t, doctorApp+ports)); found(r, doctor.Warning, "addresses", "") || found(r, doctor.Error, "addresses", "") {
		t.Errorf("free ports: %+v", r)
	}
}

// TestRun04DoctorLooksAtTheLog: the doctor examines a cluster, one that cannot be reached, and Redis.
func TestRun04DoctorLooksAtTheLog(t *testing.T) {
	rig := newRig(t)
	status, r := diagnosed(t, "--config", written(t, doctorApp+"nats: {url: ["+rig.nats+"]}\n"))
	if !found(r, doctor.Fine, "connection", "nats-server") || !found(r, doctor.Fine, "clocks", "") || !found(r, doctor.Note, "streams", "CH_a (app a) is not there yet") {
		t.Errorf("status %d, %+v", status, r)
	}
	status, r = diagnosed(t, "--config", written(t, doctorApp+"nats: {url: [nats://127.0.0.1:1]}\n"))
	if status != exitErrors || !found(r, doctor.Error, "connection", "") {
		t.Errorf("nobody there: status %d, %+v", status, r)
	}
	redis := redisserver.Start(t)
	status, r = diagnosed(t, "--config", written(t, doctorApp+"adapter: {driver: redis}\nredis_url: "+redis.URL()+"\n"))
	if status != exitOK || !found(r, doctor.Fine, "permissions", "") || !found(r, doctor.Fine, "clocks", "") || !found(r, doctor.Note, "maxmemory", "") {
		t.Errorf("Redis: status %d, %+v", status, r)
	}
	status, r = diagnosed(t, "--config", written(t, doctorApp+"adapter: {driver: redis-cluster}\nredis_url: "+redis.URL()+"\n"))
	if status != exitErrors {
		t.Errorf("no cluster: status %d, %+v", status, r)
	}
}

// TestRun04DoctorComesFromOutside: the doctor examines a public address, through correct and through faulty
// proxies.
func TestRun04DoctorComesFromOutside(t *testing.T) {
	rig := newRig(t)
	file := written(t, "adapter: {driver: local}\napps: [{id: app-id, key: app-key, secret: abcdefghijklmnopqrstuvwxyz, allowed_origins: [\"https://example.com\"]}]\n")
	proxied := func(change func(*http.Request)) string {
		to, err := url.Parse(rig.url)
		if err != nil {
			t.Fatal(err)
		}
		p := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			change(r.Out)
		}})
		t.Cleanup(p.Close)
		return p.URL
	}
	if _, r := diagnosed(t, "--config", file, "--url", proxied(func(*http.Request) {}), "--idle", "50ms"); !found(r, doctor.Fine, "WebSocket", "2m0s") || !found(r, doctor.Fine, "reachable", "") || !found(r, doctor.Note, "idle connections", "50ms") {
		t.Errorf("a good proxy: %+v", r)
	}
	if status, r := diagnosed(t, "--config", file, "--url", proxied(func(r *http.Request) { r.Header.Del("Upgrade") })); status != exitErrors || !found(r, doctor.Error, "WebSocket", "the handshake fails") {
		t.Errorf("a proxy without WebSockets: status %d, %+v", status, r)
	}
	if status, r := diagnosed(t, "--config", file, "--url", "127.0.0.1:1"); status != exitErrors || !found(r, doctor.Error, "reachable", "") {
		t.Errorf("nobody there: status %d, %+v", status, r)
	}
}

// TestRun04DoctorShowsWhatAProxySends: the doctor listens in place of the server.
func TestRun04DoctorShowsWhatAProxySends(t *testing.T) {
	file := written(t, doctorApp+"adapter: {driver: local}\ntrusted_proxies: [127.0.0.1]\n")
	c := start(t, nil, "doctor", "--listen", "127.0.0.1:0", "--config", file)
	c.errors.await(t, "listening on ")
	_, rest, _ := strings.Cut(c.errors.String(), "listening on ")
	address, _, _ := strings.Cut(rest, " ")
	r, err := http.NewRequest(http.MethodGet, "http://"+address+"/app/key?auth_signature=hidden", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("Authorization", "hidden")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	c.out.await(t, "1 error, 0 warnings")
	for _, want := range []string{"X-Forwarded-For: 203.0.113.9", "came through 127.0.0.1, which is trusted", "did not pass"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("no %q in\n%s", want, c.out)
		}
	}
	if strings.Contains(c.out.String(), "hidden") {
		t.Errorf("a secret is shown:\n%s", c.out)
	}
	c.interrupt()
	if status := c.wait(); status != exitErrors {
		t.Errorf("status %d", status)
	}
	// With an address it sends the request itself, and ends when that has arrived or failed.
	port := fmt.Sprint("127.0.0.1:", fault.Ports(t, 1)[0])
	if status, r := diagnosed(t, "--listen", port, "--url", port, "--config", file); status != exitOK || !found(r, doctor.Fine, "WebSocket", "passed") || !found(r, doctor.Fine, "path", "") {
		t.Errorf("its own: status %d, %+v", status, r)
	}
	if status, r := diagnosed(t, "--listen", "127.0.0.1:0", "--url", "127.0.0.1:1", "--config", file); status != exitErrors || !found(r, doctor.Error, "way", "did not arrive") {
		t.Errorf("elsewhere: status %d, %+v", status, r)
	}
	status, _, said := execute(t, "", "doctor", "--listen", "6001", "--config", file)
	if status != exitFailure || !strings.Contains(said, "--listen, an address and a port") || strings.Contains(said, "Stop the server") {
		t.Errorf("no address to listen on: status %d, %s", status, said)
	}
	// A password in an address is not shown, whichever command gets it.
	for _, address := range []string{"u:hunter2@127.0.0.1:1", "http://u:hunter2@127.0.0.1:1/", "u:hunter2@127.0.0.1?x"} {
		for _, args := range [][]string{
			{"doctor", "--config", file}, {"doctor", "--config", file, "--listen", "127.0.0.1:0"}, {"health"}, {"publish", "a", "b"}, {"history", "a"}, {"bench", "publish", "--duration", "10ms"},
		} {
			if status, out, said := execute(t, "", append(args, "--url", address)...); status == exitOK || strings.Contains(out+said, "hunter2") {
				t.Errorf("%q at %s shows a password, or ends with %d:\n%s%s", args, address, status, out, said)
			}
		}
	}
}
