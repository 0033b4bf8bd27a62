package configs

import (
	"crypto/tls"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// TLS is the configuration of TLS for the listener of WebSockets and HTTP. With neither files nor domains there
// is no TLS.
type TLS struct {
	CertFile, KeyFile string
	// MinVersion is a constant of crypto/tls.
	MinVersion uint16
	// HTTPPort is -1 for none, and 0 for any free port.
	HTTPPort int
	ACME     ACME
}

// ACME says how certificates are issued.
type ACME struct {
	Domains                              []string
	Email, Directory, StorageDir, CAFile string
}

// Enabled reports whether the listener speaks TLS.
func (t *TLS) Enabled() bool { return t.CertFile != "" || len(t.ACME.Domains) > 0 }

func (c *Config) buildTLS(g getter) {
	domains, _ := g.k.Get("tls.acme.domains").([]string)
	c.TLS = TLS{
		CertFile: g.text("tls.cert_file"), KeyFile: g.text("tls.key_file"), MinVersion: tls.VersionTLS12, HTTPPort: g.integer("tls.http_port"),
		ACME: ACME{
			Domains: domains, Email: g.text("tls.acme.email"), Directory: g.text("tls.acme.directory_url"),
			StorageDir: g.text("tls.acme.storage_dir"), CAFile: g.text("tls.acme.ca_file"),
		},
	}
	if g.text("tls.min_version") == "1.3" {
		c.TLS.MinVersion = tls.VersionTLS13
	}
	if c.TLS.ACME.StorageDir == "" {
		c.TLS.ACME.StorageDir = filepath.Join(dataDir(), "acme")
	}
}

// publicName matches names for which an authority issues a certificate without a check of their DNS zone.
var publicName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]$`)

func (t *TLS) check(p *problems) {
	if p.sound("tls.cert_file", "tls.key_file") && (t.CertFile == "") != (t.KeyFile == "") {
		p.add("tls.cert_file and tls.key_file must be given together")
	}
	if t.CertFile != "" && len(t.ACME.Domains) > 0 {
		p.at("tls.acme.domains", "tls.acme.domains and tls.cert_file exclude each other")
	}
	if t.HTTPPort >= 0 && !t.Enabled() && p.sound("tls.cert_file", "tls.acme.domains") {
		p.at("tls.http_port", "tls.http_port is %d, but there is no TLS to send anybody to; set tls.cert_file and tls.key_file, or tls.acme.domains", t.HTTPPort)
	}
	seen := map[string]bool{}
	for _, name := range t.ACME.Domains {
		if !publicName.MatchString(name) || len(name) > 253 {
			p.at("tls.acme.domains", "tls.acme.domains has %q, must be names such as ws.example.com, without * and port", shorten(name))
		}
		if lower := strings.ToLower(name); seen[lower] {
			p.at("tls.acme.domains", "tls.acme.domains has %q twice", shorten(name))
		} else {
			seen[lower] = true
		}
	}
	for _, k := range []struct{ name, value string }{
		{"tls.acme.email", t.ACME.Email}, {"tls.acme.directory_url", t.ACME.Directory}, {"tls.acme.ca_file", t.ACME.CAFile},
	} {
		// A user who asks for certificates should not get a server without them.
		if k.value != "" && len(t.ACME.Domains) == 0 && p.sound("tls.acme.domains") {
			p.at(k.name, "%s is given, but tls.acme.domains is empty, so no certificate would be issued; name the domains, or take it out", k.name)
		}
	}
	if len(t.ACME.Domains) > 100 {
		p.at("tls.acme.domains", "tls.acme.domains has %d names, must be up to 100", len(t.ACME.Domains))
	}
	if u, err := url.Parse(t.ACME.Directory); t.ACME.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "" || !reachable(u) || u.User != nil) {
		p.at("tls.acme.directory_url", "tls.acme.directory_url is %q, must begin with https://", shorten(redactURL(t.ACME.Directory)))
	}
	if e := t.ACME.Email; e != "" && (strings.Count(e, "@") != 1 || strings.ContainsAny(e, " \t\r\n,;<>") || len(e) > 254 || e[0] == '@' || e[len(e)-1] == '@') {
		p.at("tls.acme.email", "tls.acme.email is %q, must be one address", shorten(e))
	}
}

// Open reports whether strangers may reach the server without encryption: it listens beyond this machine and its
// private network, has no TLS, and names no proxy that might have it.
func (c *Config) Open() bool {
	ip := net.ParseIP(strings.Trim(c.Host, "[]"))
	inside := loopback(c.Host) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast())
	return !c.Development && !c.TLS.Enabled() && len(c.TrustedProxies) == 0 && !inside
}
