package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/configs"
)

// whereabouts describes where the events of a server are kept.
func whereabouts(c *configs.Config) string {
	switch {
	case c.Driver == "local":
		return "the memory of this process"
	case c.Driver != "nats":
		return "Redis"
	case !c.Embeds():
		return "NATS"
	}
	dir := c.NATS.Embedded.StoreDir
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	return dir
}

// hello prints the first screen of a development server: what one needs to try it out. It is omitted if the log
// is JSON, or has only warnings.
func hello(w io.Writer, c *configs.Config, durability, http, nats, metrics string) {
	if !c.Development || c.LogJSON || strings.EqualFold(c.LogLevel, "warn") || strings.EqualFold(c.LogLevel, "error") {
		return
	}
	url := scheme(c) + http + c.PathPrefix
	var text strings.Builder
	row := func(what, is string) {
		if is != "" {
			fmt.Fprintf(&text, "  %-10s %s\n", what, is)
		}
	}
	text.WriteString("\nSluice is running, for development on this machine.\n\n")
	if c.Web {
		row("Page", url+"/")
	}
	switch {
	case c.Console.Enabled && c.Console.Port < 0:
		row("Console", url+"/console/")
	case c.Console.Enabled && c.Console.Port > 0:
		row("Console", fmt.Sprintf("http://%s/", net.JoinHostPort(c.Console.Host, strconv.Itoa(c.Console.Port))))
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		secret := "the configured secret"
		if a.Secret == configs.DemoSecret {
			secret = "secret " + a.Secret.Reveal()
		}
		row("App", fmt.Sprintf("id %s, key %s, %s", a.ID, a.Key, secret))
	}
	row("Events", "kept in "+whereabouts(c))
	row("Durability", durability)
	row("NATS", nats)
	if metrics != "" {
		row("Metrics", "http://"+metrics+"/metrics")
	}
	more := ""
	if c.Port != 6001 || c.PathPrefix != "" || c.TLS.Enabled() {
		more = " --url " + strings.TrimPrefix(url, "http://")
	}
	if c.TLS.CertFile != "" {
		more += " --ca-file " + c.TLS.CertFile
	}
	text.WriteString("\nNext, in another terminal:\n\n")
	for _, line := range []string{"demo" + more, "subscribe lobby" + more, "publish lobby '{\"hello\":\"world\"}'" + more} {
		text.WriteString("  " + program() + " " + line + "\n")
	}
	text.WriteString("\nFor production, `" + program() + " init sluice.yaml` writes a configuration. Ctrl-C stops the server.\n\n")
	_, _ = io.WriteString(w, text.String())
}
