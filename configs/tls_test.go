package configs

import (
	"crypto/tls"
	"strings"
	"testing"
)

const oneApp = "apps: [{id: a, key: k, secret: some-secret-of-mine}]\n"

// TestRun01WhatIsWrongWithTLSIsNamed goes through impossible settings.
func TestRun01WhatIsWrongWithTLSIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"tls: {cert_file: a}": "tls.cert_file and tls.key_file must be given together",
		"tls: {key_file: a}":  "tls.cert_file and tls.key_file must be given together",
		"tls: {cert_file: a, key_file: b, acme: {domains: a.example.com}}": "exclude each other",
		"tls: {http_port: 80}":                                                 "tls.http_port is 80, but there is no TLS",
		"tls: {http_port: 70000}":                                              "tls.http_port is 70000",
		"tls: {min_version: '1.1'}":                                            "tls.min_version",
		"tls: {acme: {email: a@b.example}}":                                    "tls.acme.email is given, but tls.acme.domains is empty",
		"tls: {acme: {ca_file: a.pem}}":                                        "tls.acme.ca_file is given, but tls.acme.domains is empty",
		"tls: {acme: {directory_url: 'https://a.example/d'}}":                  "tls.acme.directory_url is given, but tls.acme.domains is empty",
		"proxy_protocol: required":                                             "but trusted_proxies is empty",
		"tls: {acme: {domains: ['*.example.com']}}":                            "tls.acme.domains has \"*.example.com\"",
		"tls: {acme: {domains: ['127.0.0.1']}}":                                "tls.acme.domains has",
		"tls: {acme: {domains: ['localhost']}}":                                "tls.acme.domains has",
		"tls: {acme: {domains: ['a.example.com:443']}}":                        "tls.acme.domains has",
		"tls: {acme: {domains: [a.example.com, A.example.com]}}":               "twice",
		"tls: {acme: {domains: a.example.com, directory_url: 'http://x/dir'}}": "must begin with https://",
		"tls: {acme: {domains: a.example.com, email: 'a b@c'}}":                "tls.acme.email",
		"ssl: {enabled: true}":                                                 "here it is tls",
		"ssl.cert_path: x":                                                     "here it is tls.cert_file",
		"tls: {certfile: x}":                                                   "did you mean tls.cert_file",
	} {
		_, err := Load(Sources{File: write(t, "c.yaml", oneApp+text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something about %q", text, err, want)
		}
	}
}

func TestRun01TLSIsReadAndShown(t *testing.T) {
	c := load(t, Sources{
		File:    write(t, "c.yaml", oneApp+"tls: {min_version: 1.3, http_port: 8080}"),
		Environ: []string{"SSL_CERT_PATH=/etc/c.pem", "SSL_KEY_PATH=/etc/k.pem"},
	})
	if c.TLS.CertFile != "/etc/c.pem" || c.TLS.KeyFile != "/etc/k.pem" || c.TLS.MinVersion != tls.VersionTLS13 || c.TLS.HTTPPort != 8080 || !c.TLS.Enabled() {
		t.Errorf("got %+v", c.TLS)
	}
	text, err := c.YAML()
	if err != nil || !strings.Contains(string(text), "/etc/c.pem") || !strings.Contains(string(text), "min_version") {
		t.Errorf("%v\n%s", err, text)
	}
	c = load(t, Sources{File: write(t, "d.yaml", oneApp+"tls: {acme: {domains: [a.example.com, b.example.com]}}")})
	if len(c.TLS.ACME.Domains) != 2 || c.TLS.ACME.StorageDir == "" || c.TLS.MinVersion != tls.VersionTLS12 {
		t.Errorf("got %+v", c.TLS)
	}
}

// TestRun01WhoIsOpen: the warning is for servers that strangers may reach without encryption.
func TestRun01WhoIsOpen(t *testing.T) {
	for text, open := range map[string]bool{
		"": true, "host: 203.0.113.1": true, "host: '::'": true, "host: 127.0.0.1": false, "host: '[::1]'": false, "host: 10.1.2.3": false, "host: fd00::1": false,
		"trusted_proxies: 10.0.0.0/8": false, "tls: {cert_file: a, key_file: b}": false, "tls: {acme: {domains: a.example.com}}": false,
		"mode: development": false,
	} {
		c := load(t, Sources{File: write(t, "c.yaml", oneApp+text)})
		if c.Open() != open {
			t.Errorf("%q: open is %v", text, c.Open())
		}
	}
}
