package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestTheCheckRefusesFilesThatTheStartRefuses: a file that is missing or no PEM is found before a server is started.
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
