package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/gateway/certs/certstest"
)

// TestTheCheckRefusesFilesThatTheStartRefuses: a file that is missing or not PEM is found before a server is
// started.
func TestTheCheckRefusesFilesThatTheStartRefuses(t *testing.T) {
	junk := writeFile(t, "junk.pem", "no certificate\n")
	const base = "mode: production\nhost: 127.0.0.1\nport: 0\nmetrics: {port: -1}\napps: [{id: a, key: k, secret: s}]\n"
	nats, redis := "nats: {url: 'nats://127.0.0.1:1', start_timeout: 1s, ", "adapter: {driver: redis}\nredis_url: redis://127.0.0.1:1\nredis: {start_timeout: 1s, tls: "
	for text, key := range map[string]string{
		"adapter: {driver: local}\ntls: {cert_file: %s, key_file: %[1]s}\n":            "tls.cert_file",
		"adapter: {driver: local}\ntls: {acme: {domains: [a.example], ca_file: %s}}\n": "tls.acme.ca_file",
		nats + "tls: {ca_file: %s}}\n":                                                 "nats.tls.ca_file",
		nats + "tls: {cert_file: %s, key_file: %[1]s}}\n":                              "nats.tls.cert_file",
		nats + "nkey_file: %s}\n":                                                      "nats.nkey_file",
		redis + "{ca_file: %s}}\n":                                                     "redis.tls.ca_file",
		redis + "{cert_file: %s, key_file: %[1]s}}\n":                                  "redis.tls.cert_file",
	} {
		for _, path := range []string{"/none.pem", junk} {
			file := writeFile(t, "c.yaml", base+fmt.Sprintf(text, path))
			for _, args := range [][]string{{"config", "--check"}, {"serve"}} {
				c := start(t, nil, append(args, "--config", file)...)
				if status := c.wait(); status == exitOK || !strings.Contains(c.errors.String(), key) {
					t.Errorf("%s with %s: %q ends with %d: %s", key, path, args, status, c.errors)
				}
			}
		}
	}
}

// TestTheCheckRefusesDirectoriesThatCannotBeUsed: the check refuses them as the start does, and the doctor
// says what to do.
func TestTheCheckRefusesDirectoriesThatCannotBeUsed(t *testing.T) {
	const base = "mode: production\nhost: 127.0.0.1\nport: 0\nmetrics: {port: -1}\napps: [{id: a, key: k, secret: s}]\n"
	plain := writeFile(t, "plain", "no directory\n")
	for text, is := range map[string]struct{ key, check string }{
		"nats: {embedded: {port: 0, store_dir: %q}}\n":                                         {"nats.embedded.store_dir", "directory"},
		"adapter: {driver: local}\ntls: {acme: {domains: [a.example.com], storage_dir: %q}}\n": {"tls.acme.storage_dir", "certificate"},
	} {
		for _, dir := range []string{plain, filepath.Join(plain, "below")} {
			file := writeFile(t, "c.yaml", base+fmt.Sprintf(text, dir))
			for _, args := range [][]string{{"config", "--check"}, {"serve"}} {
				status, _, said := execute(t, "", append(args, "--config", file)...)
				if status == exitOK || !strings.Contains(said, is.key+" is ") || !strings.Contains(said, "no directory") && !strings.Contains(said, "not a directory") {
					t.Errorf("%s: %q ends with %d: %s", dir, args, status, said)
				}
			}
			if status, r := diagnosed(t, "--config", file); status != exitErrors || !found(r, doctor.Error, is.check, "directory") {
				t.Errorf("%s of %s: status %d, %+v", dir, is.key, status, r)
			}
		}
		// Checking a directory that can be created does not create it or anything above it.
		above := t.TempDir()
		file := writeFile(t, "c.yaml", base+fmt.Sprintf(text, filepath.Join(above, "a", "b")))
		if status, _, said := execute(t, "", "config", "--check", "--config", file); status != exitOK {
			t.Errorf("%s that is not there: status %d, %s", is.key, status, said)
		}
		if left, err := os.ReadDir(above); len(left) != 0 || err != nil {
			t.Errorf("the check of %s leaves %v, %v", is.key, left, err)
		}
	}
}

// TestACertificateThatClientsRefuseIsTold: the check reports it before a server is started, and the server
// when it starts all the same.
func TestACertificateThatClientsRefuseIsTold(t *testing.T) {
	authority := certstest.New(t)
	for name, c := range map[string]struct {
		life    time.Duration
		wrong   string // what the check says, empty for nothing
		level   doctor.Level
		mixedUp bool
	}{
		"good":             {life: 90 * 24 * time.Hour, level: doctor.Fine},
		"ended":            {life: -time.Minute, wrong: "has ended at", level: doctor.Error},
		"soon":             {life: time.Minute, wrong: "ends at", level: doctor.Warning},
		"of another's key": {life: time.Hour, mixedUp: true, level: doctor.Error},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := authority.Pair(c.life)
			if c.mixedUp {
				_, key = authority.Pair(c.life)
			}
			file := writeFile(t, "c.yaml", doctorApp+fmt.Sprintf("host: 127.0.0.1\nport: 0\nmetrics: {port: -1}\nadapter: {driver: local}\nshutdown: {ready_delay_seconds: 0}\ntls: {cert_file: %q, key_file: %q}\n",
				writeFile(t, "tls.crt", string(cert)), writeFile(t, "tls.key", string(key))))
			if _, r := diagnosed(t, "--config", file); !found(r, c.level, "certificate", "") {
				t.Errorf("the doctor found no %s: %+v", c.level, r)
			}
			if c.mixedUp {
				return // the check and the start are covered by the table of file errors above
			}
			status, _, said := execute(t, "", "config", "--check", "--config", file)
			if status != exitOK || !strings.Contains(said, c.wrong) || (c.wrong == "") != (said == "") {
				t.Errorf("the check ends with %d and says %q", status, said)
			}
			server := start(t, nil, "serve", "--config", file)
			server.errors.await(t, "sluice is serving")
			server.interrupt()
			_ = server.wait()
			if told := strings.Contains(server.errors.String(), "the certificate in tls.cert_file"); told != (c.wrong != "") {
				t.Errorf("the log of the server:\n%s", server.errors)
			}
		})
	}
}

// TestALimitAboveTheMemoryIsTold: with such a limit no client would be refused before the system kills the
// process.
func TestALimitAboveTheMemoryIsTold(t *testing.T) {
	// The limit belongs to the process, and stays when a server has ended.
	before := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	file := written(t, doctorApp+"host: 127.0.0.1\nport: 0\nmetrics: {port: -1}\nadapter: {driver: local}\nshutdown: {ready_delay_seconds: 0}\nmemory: {limit: 1125899906842624}\n")
	server := start(t, nil, "serve", "--config", file)
	server.errors.await(t, "sluice is serving")
	server.interrupt()
	_ = server.wait()
	if said := server.errors.String(); !strings.Contains(said, "is more than there is") || !strings.Contains(said, "memory_from=memory.limit") {
		t.Errorf("the log of the server:\n%s", said)
	}
	if _, r := diagnosed(t, "--config", file); !found(r, doctor.Warning, "memory.limit", "may use") {
		t.Errorf("the doctor: %+v", r)
	}
}
