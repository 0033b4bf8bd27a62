package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/mem"
	"github.com/spf13/cobra"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/streams"
)

// configuration loads the configuration that a server here would have, with the state of the files that it
// names.
func (o *doctorOptions) configuration(cmd *cobra.Command) doctor.Configuration {
	var out doctor.Configuration
	out.Config, out.Err = loadClientConfig(cmd)
	if out.Err != nil {
		return out
	}
	path, _ := cmd.Flags().GetString("config")
	out.Files, out.Now = secretFiles(out.Config, path), time.Now()
	c := &out.Config.TLS
	if _, out.TLS = checkTLS(out.Config); out.TLS == nil && c.CertFile != "" {
		if text, err := os.ReadFile(c.CertFile); err == nil {
			out.Leaf, _ = firstCertificate(text)
		}
	}
	out.Unbound = unbound(cmd.Context(), out.Config)
	if len(c.ACME.Domains) > 0 {
		out.Storage = usable("tls.acme.storage_dir", c.ACME.StorageDir)
	}
	return out
}

// secretFiles returns the files with secrets. path is the file of the configuration, empty for none.
func secretFiles(c *configs.Config, path string) (out []doctor.File) {
	all := append(c.SecretFiles(), c.SecretsOfServer()...)
	if path != "" {
		if holds, err := c.Holds(path); holds || err != nil {
			all = append(all, configs.SecretFile{Key: "--config", Path: path})
		}
	}
	for _, f := range all {
		is := doctor.File{Key: f.Key, Path: f.Path}
		info, err := os.Stat(f.Path)
		if is.Err = err; err == nil {
			is.Mode = info.Mode()
		}
		out = append(out, is)
	}
	return out
}

// examine makes all checks.
func (o *doctorOptions) examine(ctx context.Context, c doctor.Configuration) *doctor.Report {
	all := [][]doctor.Finding{doctor.JudgeConfig(c)}
	load := doctor.Load{Connections: int64(o.connections), Reserve: 64}
	var memory, wanted int64 = -1, 0
	if c.Err == nil {
		limits := measure(c.Config)
		load.Reserve, load.SendBuffer = int64(limits.descriptors.Reserve), int64(c.Config.WebSocket.SendBuffer)
		load.RedisHere = strings.HasPrefix(c.Config.Driver, "redis") && onThisMachine(c.Config.RedisURL.Reveal())
		memory = limits.memory.Limit
		if room := limits.memory.Room(); room > 0 && memory > room {
			memory, wanted = room, memory
		}
		all = append(all, o.log(ctx, c.Config))
		if c.Config.Embeds() {
			all = append(all, doctor.JudgeData(dataOf(c.Config)))
		}
	}
	m := doctor.ReadMachine(os.DirFS("/"))
	if m.Memory, m.Page = memory, int64(os.Getpagesize()); memory <= 0 {
		if v, err := mem.VirtualMemory(); err == nil {
			m.Memory = int64(v.Total)
		}
	}
	m.Wanted = wanted
	if n := filesOf(); n > 0 {
		m.Files = int64(n)
	}
	all = append(all, doctor.JudgeMachine(m, load))
	if o.url != "" {
		all = append(all, doctor.JudgePublic(o.public(ctx, c)))
	}
	return doctor.NewReport(versionText(), all...)
}

// log checks the log of a configuration.
func (o *doctorOptions) log(ctx context.Context, c *configs.Config) []doctor.Finding {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	switch {
	case c.Driver == "local", c.CheckBackend() != nil:
		return nil
	case c.Driver != "nats":
		opt := redisOptions(c, nil)
		opt.StartTimeout = o.timeout
		found, err := redis.Inspect(ctx, opt)
		return doctor.JudgeRedis(found, opt.Cluster, err)
	}
	opt := streamOptions(c, nil)
	opt.StartTimeout = o.timeout
	use := streams.Use{Counters: c.Delta.Enabled && c.Delta.Coordinate, Work: hooked(c)}
	if c.Embeds() {
		e := c.NATS.Embedded
		opt.URLs, use.Guest = []string{"nats://" + net.JoinHostPort(strings.Trim(e.Host, "[]"), strconv.Itoa(e.Port))}, true
	}
	found, err := streams.Inspect(ctx, opt, use)
	if err != nil && c.Embeds() {
		// An embedded log is in the process of the server, which need not run.
		why := "it runs in the server, which does not run, or not here"
		if c.NATS.Embedded.Port <= 0 {
			why = "it takes any port (nats.embedded.port)"
		} else if !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "no servers available") {
			why = err.Error()
		}
		return []doctor.Finding{{Level: doctor.Note, Area: "log on NATS", Check: "connection", Is: "the embedded server was not looked at: " + why}}
	}
	return doctor.JudgeNATS(found, err)
}

// dataOf checks the directory of the embedded log.
func dataOf(c *configs.Config) doctor.Data {
	e := c.NATS.Embedded
	d := doctor.ReadData(e.StoreDir)
	// The permissions are not enough: the file system may refuse writing, and so the start would fail.
	d.Writable = d.Writable && usable("", e.StoreDir) == nil
	d.Most, d.Always = e.MaxStore, c.Durability == "machine"
	d.Wanted = c.SetAside()
	return d
}

// onThisMachine reports whether an address names this machine.
func onThisMachine(address string) bool {
	_, rest, _ := strings.Cut(address, "://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	rest, _, _ = strings.Cut(rest, "/")
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		host = rest
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// public checks the public address, as from outside.
func (o *doctorOptions) public(ctx context.Context, c doctor.Configuration) doctor.Public {
	p := doctor.Public{URL: shownAddress(o.url), Local: onThisMachine(o.url)}
	asking, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(asking, http.MethodGet, o.url+"/health", nil)
	if err != nil {
		p.Err = err
		return p
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.tls
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		p.Err = err
		return p
	}
	_ = answer.Body.Close()
	p.Health = answer.StatusCode
	if s := answer.TLS; s != nil {
		p.TLS, p.Version = true, tlsName(s.Version)
		if len(s.PeerCertificates) > 0 {
			p.Days = int(time.Until(s.PeerCertificates[0].NotAfter).Hours() / 24)
		}
	}
	o.connect(ctx, &p, c)
	return p
}

// connect opens a WebSocket at the public address and keeps it open for the time of --idle.
func (o *doctorOptions) connect(ctx context.Context, p *doctor.Public, c doctor.Configuration) {
	if c.Err != nil || len(c.Config.Apps) == 0 {
		p.Handshake = errNoConfig
		return
	}
	opt := client.Options{URL: o.url, Key: c.Config.Apps[0].Key, HandshakeTimeout: o.timeout, TLS: o.tls}
	opt.OnControl = func(e client.Event) {
		if e.Name == "pusher:connection_established" {
			p.Activity = time.Duration(gjson.Get(e.Data, "activity_timeout").Int()) * time.Second
		}
	}
	began := time.Now()
	conn, err := client.Dial(ctx, opt)
	if err != nil {
		var closed *client.CloseError
		p.Handshake, p.Refused = err, errors.As(err, &closed) && closed.Code >= 4000
		return
	}
	if o.idle > 0 {
		timer := time.NewTimer(o.idle)
		defer timer.Stop()
		select {
		case <-timer.C:
			p.Silent = o.idle
		case <-conn.Done():
			p.Cut = max(time.Since(began), time.Millisecond)
		case <-ctx.Done():
		}
	}
	// After this, OnControl is not called any more.
	_ = conn.Close()
}
