package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/configs"
)

// File is a file with content that not everybody may read.
type File struct {
	// Key is the setting that names the file, or a description, and Path its path.
	Key, Path string
	Mode      fs.FileMode
	Err       error
}

// Configuration is a configuration, or the error of loading it.
type Configuration struct {
	Config *configs.Config
	Err    error
	Files  []File
	// TLS is why the server could not present a certificate, nil if it could or needs none. Leaf is the
	// certificate that it would present, nil if there is none or an authority issues it.
	TLS  error
	Leaf *x509.Certificate
	// Storage is why certificates that an authority issues could not be stored.
	Storage error
	// Unbound are the addresses on which the server could not listen.
	Unbound []Address
	Now     time.Time
}

// Address is an address to listen on, with the key of its port and the error.
type Address struct {
	Key, Address string
	Err          error
}

// shortSecret is the minimum recommended length of a secret: 16 characters of 32 letters have 80 bits.
const shortSecret = 16

// changeIt is the remedy for a setting that keeps a server from starting.
const changeIt = "Change the setting; docs/configuration.md describes every key, and `sluice config --check` tries a file."

// JudgeConfig judges a configuration by itself.
func JudgeConfig(c Configuration) []Finding {
	f := &findings{area: "configuration"}
	var wrong *configs.Error
	switch {
	case errors.As(c.Err, &wrong):
		for _, p := range wrong.Problems {
			f.fail("settings", changeIt, "%s", p)
		}
		return f.all
	case c.Err != nil:
		remedy := "Correct the text of the file; `sluice config --check` tries it again."
		if errors.As(c.Err, new(*fs.PathError)) || errors.As(c.Err, new(syscall.Errno)) {
			remedy = "Name a file that this user may read with --config; `sluice init` writes one."
		}
		f.fail("settings", remedy, "%v", c.Err)
		return f.all
	}
	f.fine("settings", "they can be read, and fit together")
	if c.Config.Development {
		f.note("mode", "Write one with `sluice init`, or set mode: production.", "development mode, for this machine alone: requests need no signature")
	}
	for _, key := range c.Config.NotYet() {
		f.warn("features", "Take the key out.", "%s asks for a feature that this release does not have", key)
	}
	if err := c.Config.CheckBackend(); err != nil {
		f.fail("log", changeIt, "%v", err)
	}
	if c.Config.Driver == "local" && !c.Config.Development {
		f.warn("log", "Set adapter.driver: nats.", "adapter.driver is local: nothing is stored, and other gateways do not see it")
	}
	judgeCertificate(f, c)
	judgeAddresses(f, c.Unbound)
	return append(f.all, judgeHygiene(c)...)
}

// judgeAddresses judges the addresses on which the server could not listen.
func judgeAddresses(f *findings, unbound []Address) {
	for _, a := range unbound {
		switch {
		case errors.Is(a.Err, syscall.EADDRINUSE):
			f.warn("addresses", "Stop the program that listens there, or choose another port.", "%s is %s, which is in use, and no Sluice answers for it", a.Key, a.Address)
		case errors.Is(a.Err, syscall.EACCES):
			f.warn("addresses", "Run this as the user of the server. If it may not either, docs/deploy.md says how to let it, under \"systemd\".", "%s is %s, where this user may not listen", a.Key, a.Address)
		default:
			f.fail("addresses", "Set the host to an address of this machine, or to 0.0.0.0.", "%s is %s, where nobody can listen here: %v", a.Key, a.Address, a.Err)
		}
	}
}

// ample is how long a certificate should still be valid, unless its lifetime is short: renewing it may fail at
// first.
const ample = 14 * 24 * time.Hour

// judgeCertificate judges the certificate of the server.
func judgeCertificate(f *findings, c Configuration) {
	const renew = "Renew it; the server takes changed files over by itself."
	if c.TLS != nil {
		f.fail("certificate", "Change the file or the setting: the server would not start.", "%v", c.TLS)
	}
	if c.Storage != nil {
		f.fail("certificate", "Make the directory for the user of the server, who must be able to write there.", "%v", c.Storage)
	}
	if c.Leaf == nil {
		return
	}
	from, until := c.Leaf.NotBefore.UTC(), c.Leaf.NotAfter.UTC()
	switch left := until.Sub(c.Now); {
	case c.Now.Before(from):
		f.fail("certificate", "Check the clock, or use another one until then.", "no client accepts the one in tls.cert_file before %s", from.Format(time.RFC3339))
	case left <= 0:
		f.fail("certificate", renew, "no client accepts the one in tls.cert_file: it has ended at %s", until.Format(time.RFC3339))
	case left < min(ample, until.Sub(from)/5):
		f.warn("certificate", renew, "the one in tls.cert_file ends at %s", until.Format(time.RFC3339))
	default:
		f.fine("certificate", "the one in tls.cert_file belongs to its key and is good until %s", until.Format(time.RFC3339))
	}
}

// judgeHygiene judges secrets, origins and the permissions of files.
func judgeHygiene(c Configuration) []Finding {
	f := &findings{area: "secrets and origins"}
	dev, here := c.Config.Development, loopback(c.Config.Host)
	for _, key := range c.Config.SampleSecrets() {
		if here || c.Config.AllowSamples {
			f.warn("published secrets", "Choose another one before others can reach it.", "%s is the secret of a sample, which everybody knows", key)
		} else {
			f.fail("published secrets", "Choose another one.", "%s is the secret of a sample, which everybody knows; the server would not start", key)
		}
	}
	seen := map[string]string{}
	for i := range c.Config.Apps {
		a := &c.Config.Apps[i]
		where, s := fmt.Sprintf("apps[%d] (%s)", i, a.ID), a.Secret.Reveal()
		switch {
		case dev:
		case s == a.Key || s == a.ID:
			f.fail("secrets", "Choose a secret of its own.", "the secret of %s is its key or id, which every page of its users shows", where)
		case len(s) < shortSecret:
			f.warn("secrets", "Choose one at random, as `sluice init` does, and exchange it.", "the secret of %s has %d characters, and whoever has one signature can try them all; use %d or more", where, len(s), shortSecret)
		case seen[s] != "":
			f.warn("secrets", "Give each app its own.", "%s has the secret of %s: whoever may publish to one may publish to the other", where, seen[s])
		}
		seen[s] = where
		switch {
		case dev || !a.Enabled:
		case len(a.Origins) == 0:
			f.warn("origins", "List the sites in allowed_origins, unless apps without a browser need it open.", "%s takes connections from pages of every site", where)
		case everybody(a.Origins):
			f.warn("origins", "Name the sites.", "allowed_origins of %s has *, which is every site", where)
		}
		for n, h := range a.Webhooks {
			if strings.HasPrefix(h.URL, "http://") && !here {
				f.warn("webhooks", "Use https.", "webhook %d of %s goes over http: its events can be read on the way", n, where)
			}
		}
	}
	// The configuration does not allow such a short console.token.
	if t := c.Config.Metrics.Token.Reveal(); t != "" && len(t) < shortSecret {
		f.warn("metrics.token", "Choose one at random.", "it has %d characters; use %d or more", len(t), shortSecret)
	}
	judgeFilesOf(f, c.Files)
	if len(f.all) == 0 {
		f.fine("secrets", "none is short, published, shared, or readable for everybody, and origins are named")
	}
	if !dev && !here && !c.Config.TLS.Enabled() && len(c.Config.TrustedProxies) == 0 {
		f.warn("TLS", "Set tls.cert_file and tls.key_file, or tls.acme.domains, or name the proxy that does TLS in trusted_proxies.", "connections are not encrypted, and strangers may reach this server")
	}
	if !dev && !here && len(c.Config.TrustedProxies) == 0 {
		f.note("trusted_proxies", "Set it to the addresses of the proxies, if there are any in front.", "no proxy is trusted: what limits one address goes by who connects")
	}
	return f.all
}

// judgeFilesOf judges who can read and write files with secrets.
func judgeFilesOf(f *findings, files []File) {
	const readers, writers = 0o004, 0o022
	for _, file := range files {
		switch mode := file.Mode.Perm(); {
		case file.Err != nil:
			f.fail("files", "Put the file there, where the user of the server may read it, or change the setting.", "%s: %v", file.Key, file.Err)
		case mode&0o002 != 0:
			f.fail("files", "chmod 600 "+file.Path, "%s: everybody on this machine may write %s (mode %04o)", file.Key, file.Path, mode)
		case mode&readers != 0:
			f.warn("files", "chmod o-rwx "+file.Path, "%s: everybody on this machine may read %s (mode %04o), and it holds a secret", file.Key, file.Path, mode)
		case mode&writers != 0:
			f.note("files", "chmod g-w "+file.Path, "%s: the group may write %s (mode %04o)", file.Key, file.Path, mode)
		}
	}
}

func everybody(origins []string) bool {
	for _, o := range origins {
		if o == "*" || strings.HasSuffix(o, "://*") {
			return true
		}
	}
	return false
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
