package doctor

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/kv/shape"
	"github.com/sluicehq/sluice/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// expect looks for a finding by level, check and a part of its text. An empty check means that nothing is
// wrong. Every warning and error must say what to do.
func expect(t *testing.T, name string, got []Finding, level Level, check, is string) {
	t.Helper()
	found := check == ""
	for _, f := range got {
		if f.Area == "" || f.Check == "" || f.Is == "" {
			t.Errorf("%s: %+v", name, f)
		}
		bad := f.Level == Warning || f.Level == Error
		if check == "" && bad {
			t.Errorf("%s: %+v", name, f)
		}
		found = found || f.Level == level && f.Check == check && strings.Contains(f.Is, is)
	}
	if !found {
		t.Errorf("%s: no %s about %s with %q in %+v", name, level, check, is, got)
	}
}

func TestRun04Machine(t *testing.T) {
	good := Machine{
		Linux: true, Files: 1 << 20, MostFiles: 1 << 20, AllFiles: 1 << 22, Somaxconn: 65535, SynBacklog: 65535, FirstPort: 1024, LastPort: 65535,
		Memory: 16 << 30, TCPPages: 1 << 20, Page: 4096, SendMax: 4 << 20, SendBufferMax: 1 << 20, ConntrackMax: 1 << 20, Overcommit: 1,
	}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*Machine, *Load)
	}{
		{"a good machine", "", "", "", func(*Machine, *Load) {}},
		{"too few descriptors", "descriptors", "may have 1024", Error, func(m *Machine, _ *Load) { m.Files = 1024 }},
		{"just enough descriptors", "descriptors", "less than a fifth", Warning, func(m *Machine, _ *Load) { m.Files = 10_100 }},
		{"more connections than descriptors", "descriptors", "2000000 connections need 2000064", Error, func(_ *Machine, l *Load) { l.Connections = 2_000_000 }},
		{"a low nr_open", "fs.nr_open", "more than 9000", Error, func(m *Machine, _ *Load) { m.MostFiles = 9000 }},
		{"a low file-max", "fs.file-max", "", Warning, func(m *Machine, _ *Load) { m.AllFiles = 12_000 }},
		{"a short queue", "net.core.somaxconn", "128 connections", Warning, func(m *Machine, _ *Load) { m.Somaxconn = 128 }},
		{"a short queue of handshakes", "net.ipv4.tcp_max_syn_backlog", "", Warning, func(m *Machine, _ *Load) { m.SynBacklog = 256 }},
		{"few ports", "net.ipv4.ip_local_port_range", "1001 local ports", Warning, func(m *Machine, _ *Load) { m.FirstPort, m.LastPort = 50_000, 51_000 }},
		{"little memory for sockets", "net.ipv4.tcp_mem", "", Warning, func(m *Machine, _ *Load) { m.TCPPages = 1000 }},
		{"slow sockets fill the memory", "net.ipv4.tcp_wmem", "4194304"[:0], Warning, func(m *Machine, _ *Load) { m.Memory = 1 << 30 }},
		{"a bound of a socket's buffer", "", "", "", func(m *Machine, l *Load) { m.Memory, l.SendBuffer = 1<<30, 64<<10 }},
		{"a buffer that the kernel cuts", "net.core.wmem_max", "", Warning, func(m *Machine, l *Load) { l.SendBuffer, m.SendBufferMax = 1<<20, 1000 }},
		{"a full table of the firewall", "net.netfilter.nf_conntrack_max", "dropped", Error, func(m *Machine, _ *Load) { m.ConntrackMax = 5000 }},
		{"a firewall with little room", "net.netfilter.nf_conntrack_max", "", Warning, func(m *Machine, _ *Load) { m.ConntrackMax = 15_000 }},
		{"no firewall", "", "", "", func(m *Machine, _ *Load) { m.ConntrackMax = -1 }},
		{"no overcommit", "vm.overcommit_memory", "it is 2", Warning, func(m *Machine, _ *Load) { m.Overcommit = 2 }},
		{"Redis here", "vm.overcommit_memory", "Redis", Warning, func(m *Machine, l *Load) { m.Overcommit, l.RedisHere = 0, true }},
		{"far too little memory", "memory", "of 100 MiB", Error, func(m *Machine, l *Load) { m.Memory, l.SendBuffer = 100<<20, 4096 }},
		{"a limit above the memory", "memory.limit", "may use 1024 GiB and there are 16 GiB", Warning, func(m *Machine, _ *Load) { m.Wanted = 1 << 40 }},
		{"little memory", "memory", "", Warning, func(m *Machine, l *Load) { m.Memory, l.SendBuffer = 200<<20, 4096 }},
		{"another system", "kernel", "Linux", Note, func(m *Machine, _ *Load) { m.Linux = false }},
	} {
		m, l := good, Load{Connections: 10_000, Reserve: 64}
		c.change(&m, &l)
		expect(t, c.name, JudgeMachine(m, l), c.level, c.check, c.is)
	}
}

func TestRun04MachineIsRead(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	m := ReadMachine(fstest.MapFS{
		"proc/sys/fs/nr_open": file("1048576\n"), "proc/sys/net/core/somaxconn": file("4096"), "proc/sys/net/ipv4/ip_local_port_range": file("32768\t60999\n"),
		"proc/sys/net/ipv4/tcp_mem": file("1 2 3"), "proc/sys/net/ipv4/tcp_wmem": file("4096 16384 4194304"), "proc/sys/vm/overcommit_memory": file("what?"),
	})
	if !m.Linux || m.MostFiles != 1<<20 || m.Somaxconn != 4096 || m.FirstPort != 32768 || m.LastPort != 60999 || m.TCPPages != 3 || m.SendMax != 4<<20 ||
		m.Overcommit != -1 || m.ConntrackMax != -1 || m.SynBacklog != -1 {
		t.Errorf("%+v", m)
	}
	if m := ReadMachine(fstest.MapFS{}); m.Linux {
		t.Errorf("nothing is there: %+v", m)
	}
}

func config(t *testing.T, text string) Configuration {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Load(configs.Sources{File: file})
	return Configuration{Config: c, Err: err}
}

func TestRun04Configuration(t *testing.T) {
	const secret = "abcdefghijklmnopqrstuvwxyz"
	app := func(more string) string { return "apps: [{id: a, key: k, secret: " + secret + ", " + more + "}]\n" }
	const origins = `allowed_origins: ["https://example.com"]`
	for _, c := range []struct {
		name, text, check, is string
		level                 Level
	}{
		{"a good one", "trusted_proxies: [10.0.0.1]\n" + app(origins), "", "", ""},
		{"an unknown key", app(origins) + "prot: 1\n", "settings", "prot", Error},
		{"two mistakes", "port: -1\n" + app("origin: x"), "settings", "port", Error},
		{"no file at all", "apps: [", "settings", "", Error},
		{"no origins", app("enabled: true"), "origins", "every site", Warning},
		{"any origin", app(`allowed_origins: ["*"]`), "origins", "has *", Warning},
		{"a short secret", "apps: [{id: a, key: k, secret: short, " + origins + "}]", "secrets", "5 characters", Warning},
		{"a secret that is the key", "apps: [{id: a, key: " + secret + ", secret: " + secret + ", " + origins + "}]", "secrets", "its key or id", Error},
		{"a secret for two", "apps: [{id: a, key: k, secret: " + secret + ", " + origins + "}, {id: b, key: l, secret: " + secret + ", " + origins + "}]", "secrets", "has the secret of apps[0]", Warning},
		{"a published secret", "host: 0.0.0.0\napps: [{id: a, key: k, secret: change-this-to-something-else, " + origins + "}]", "published secrets", "would not start", Error},
		{"a published secret on this machine", "host: 127.0.0.1\napps: [{id: a, key: k, secret: change-this-to-something-else, " + origins + "}]", "published secrets", "everybody knows", Warning},
		{"a short token", app(origins) + "metrics: {token: abc}\n", "metrics.token", "3 characters", Warning},
		{"no TLS", "host: 0.0.0.0\n" + app(origins), "TLS", "not encrypted", Warning},
		{"nothing is stored", app(origins) + "adapter: {driver: local}\n", "log", "nothing is stored", Warning},
		{"Redis without an address", app(origins) + "adapter: {driver: redis}\n", "log", "redis_url is not set", Error},
		{"webhooks in the clear", "host: 0.0.0.0\n" + app(origins+`, webhooks: [{url: "http://example.com/", event_types: [channel_occupied]}]`), "webhooks", "over http", Warning},
		{"development", "mode: development\n", "mode", "no signature", Note},
		{"no proxy is trusted", "host: 0.0.0.0\n" + app(origins), "trusted_proxies", "no proxy", Note},
	} {
		expect(t, c.name, JudgeConfig(config(t, c.text)), c.level, c.check, c.is)
	}
	for _, c := range []struct {
		name, is string
		level    Level
		file     File
	}{
		{"for its owner", "", "", File{Mode: 0o600}},
		{"for its group", "", "", File{Mode: 0o640}},
		{"everybody may read", "may read", Warning, File{Mode: 0o644}},
		{"everybody may write", "may write", Error, File{Mode: 0o666}},
		{"the group may write", "the group may write", Note, File{Mode: 0o660}},
		{"a file that is gone", "gone", Error, File{Err: errors.New("gone")}},
	} {
		c.file.Key, c.file.Path = "apps[0].secret_file", "/run/secret"
		good := config(t, "trusted_proxies: [10.0.0.1]\n"+app(origins))
		good.Files = []File{c.file}
		check := "files"
		if c.level == "" {
			check = ""
		}
		expect(t, c.name, JudgeConfig(good), c.level, check, c.is)
	}
}

func inspection() *streams.Inspection {
	one := streams.InspectedServer{Name: "n1", Version: "2.12.0", URL: "nats://n1", MaxPayload: 1 << 20, RTT: time.Millisecond}
	return &streams.Inspection{
		Server: one, Servers: []streams.InspectedServer{one}, NeededPayload: 128 << 10,
		Account: jetstream.AccountInfo{Tier: jetstream.Tier{Streams: 2, Limits: jetstream.AccountLimits{MaxStreams: -1, MaxStore: -1, MaxConsumers: -1}}},
		Streams: []streams.InspectedStream{
			{Name: "CH_a", For: "app a", Leader: "n1", Want: jetstream.StreamConfig{MaxBytes: 1 << 30, Replicas: 1}},
			{Name: "CH_b", For: "app b", Missing: true, Want: jetstream.StreamConfig{MaxBytes: 1 << 30, Replicas: 1}},
		},
		Clocks: []streams.InspectedClock{{Server: "n1"}},
	}
}

func TestRun04NATS(t *testing.T) {
	differs := []shape.Difference{{Setting: "no_ack", Have: "true", Want: "false"}}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*streams.Inspection)
	}{
		{"all is well", "", "", "", func(*streams.Inspection) {}},
		{"JetStream is off", "JetStream", "off", Error, func(i *streams.Inspection) { i.JetStream = errors.New("off") }},
		{"too old", "version", "2.9.0", Error, func(i *streams.Inspection) { i.TooOld, i.Server.Version = true, "2.9.0" }},
		{"small messages", "max_payload", "larger ones are refused", Warning, func(i *streams.Inspection) { i.Server.MaxPayload = 65536 }},
		{"an unreachable server", "connection", "nats://n9 does not answer", Warning, func(i *streams.Inspection) {
			i.Unreachable = map[string]error{"nats://n9": errors.New("refused")}
		}},
		{"two servers", "servers", "n1 2.12.0, n2 2.12.0", Warning, func(i *streams.Inspection) {
			i.Servers = append(i.Servers, streams.InspectedServer{Name: "n2", Version: "2.12.0", MaxPayload: 1 << 20})
		}},
		{"versions that differ", "version", "the servers differ", Note, func(i *streams.Inspection) {
			i.Servers = append(i.Servers, streams.InspectedServer{Name: "n2", Version: "2.11.0", MaxPayload: 1 << 20})
		}},
		{"limits that differ", "max_payload", "n2 takes 64 KiB", Warning, func(i *streams.Inspection) {
			i.Servers = append(i.Servers, streams.InspectedServer{Name: "n2", Version: "2.12.0", MaxPayload: 64 << 10})
		}},
		{"far away", "distance", "80ms", Warning, func(i *streams.Inspection) { i.Server.RTT = 80 * time.Millisecond }},
		{"what may not be published", "permissions", "may not publish to ch.>", Error, func(i *streams.Inspection) {
			i.Denied = []streams.Denial{{Publish: true, Grant: "ch.>", For: "publishing"}}
		}},
		{"what may not be heard", "permissions", "may not subscribe to rtkv.>", Error, func(i *streams.Inspection) {
			i.Denied = []streams.Denial{{Grant: "rtkv.>", For: "who is where"}}
		}},
		{"what can be done without", "permissions", "STREAM.PURGE", Warning, func(i *streams.Inspection) {
			i.Denied = []streams.Denial{{Publish: true, Grant: "$JS.API.STREAM.PURGE.*", For: "purging"}}
		}},
		{"no room for streams", "streams of the account", "0 more, and 1 are to be made", Error, func(i *streams.Inspection) { i.Account.Limits.MaxStreams = 2 }},
		{"hardly any room for streams", "streams of the account", "", Note, func(i *streams.Inspection) { i.Account.Limits.MaxStreams = 4 }},
		{"no room for bytes", "storage of the account", "set 1024 MiB aside", Error, func(i *streams.Inspection) {
			i.Account.Limits.MaxStore, i.Account.ReservedStore = 2<<30, 3<<29
		}},
		{"no room for bytes of a tier", "storage of the account", "are left", Error, func(i *streams.Inspection) {
			i.Account.Tiers = map[string]jetstream.Tier{"R1": {Limits: jetstream.AccountLimits{MaxStore: 1 << 20}}}
		}},
		{"storage that is nearly full", "storage of the account", "are used", Warning, func(i *streams.Inspection) {
			i.Streams = i.Streams[:1]
			i.Account.Limits.MaxStore, i.Account.Store = 1<<30, 1<<30-1
		}},
		{"no consumers", "consumers of the account", "all 3 are used", Error, func(i *streams.Inspection) { i.Account.Limits.MaxConsumers, i.Account.Consumers = 3, 3 }},
		{"settings that were changed", "streams", "no_ack is true", Warning, func(i *streams.Inspection) { i.Streams[0].Report.Changed = differs }},
		{"settings that cannot be used", "streams", "cannot be used", Error, func(i *streams.Inspection) { i.Streams[0].Report.Fatal = differs }},
		{"settings for good", "streams", "no_ack is true", Warning, func(i *streams.Inspection) { i.Streams[0].Report.Lasting = differs }},
		{"other limits", "streams", "other limits", Note, func(i *streams.Inspection) { i.Streams[0].Report.Limits = differs }},
		{"no leader", "streams", "no leader", Error, func(i *streams.Inspection) { i.Streams[0].Leader = "" }},
		{"copies that are behind", "streams", "n3 are not current", Warning, func(i *streams.Inspection) { i.Streams[0].Behind = []string{"n3"} }},
		{"copies that are not there", "streams", "there is one copy", Error, func(i *streams.Inspection) { i.Streams[0].Few = errors.New("there is one copy") }},
		{"a stream that cannot be asked for", "streams", "timeout", Error, func(i *streams.Inspection) { i.Streams[0].Err = errors.New("timeout") }},
		{"a full stream", "streams", "before their time", Note, func(i *streams.Inspection) { i.Streams[0].Bytes = 1<<30 - 1 }},
		{"a clock that is off", "clocks", "5s behind", Warning, func(i *streams.Inspection) { i.Clocks[0].Ahead = -5 * time.Second }},
		{"a clock that is far off", "clocks", "1h0m0s ahead", Error, func(i *streams.Inspection) { i.Clocks[0].Ahead = time.Hour }},
		{"a clock that may be off", "", "", "", func(i *streams.Inspection) { i.Clocks[0].Ahead, i.Clocks[0].Doubt = 3*time.Second, 3*time.Second }},
		{"clocks that differ", "clocks", "n2 is 1.6s ahead of n1", Warning, func(i *streams.Inspection) {
			i.Clocks = []streams.InspectedClock{{Server: "n1", Ahead: -800 * time.Millisecond}, {Server: "n2", Ahead: 800 * time.Millisecond}}
		}},
	} {
		i := inspection()
		c.change(i)
		expect(t, c.name, JudgeNATS(i, nil), c.level, c.check, c.is)
	}
	expect(t, "nobody there", JudgeNATS(nil, errors.New("refused")), Error, "connection", "refused")
}

func TestRun04Redis(t *testing.T) {
	good := redis.InspectedServer{Address: "r", Version: "7.2.4", Mode: "standalone", Role: "master", MaxMemory: 1 << 30, Policy: "noeviction", AppendOnly: "yes", AppendFsync: "everysec"}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*redis.Inspection)
	}{
		{"all is well", "", "", "", func(*redis.Inspection) {}},
		{"too old", "version", "6.2", Error, func(i *redis.Inspection) { i.Servers[0].Version = "6.2.1" }},
		{"a cluster", "mode", "cluster", Error, func(i *redis.Inspection) { i.Servers[0].Mode = "cluster" }},
		{"eviction", "maxmemory-policy", "allkeys-lru", Warning, func(i *redis.Inspection) { i.Servers[0].Policy = "allkeys-lru" }},
		{"no limit of memory", "maxmemory", "no limit", Note, func(i *redis.Inspection) { i.Servers[0].MaxMemory = 0 }},
		{"full", "maxmemory", "uses", Warning, func(i *redis.Inspection) { i.Servers[0].UsedMemory = 1<<30 - 1 }},
		{"no file", "persistence", "no append-only file", Warning, func(i *redis.Inspection) { i.Servers[0].AppendOnly = "no" }},
		{"a lazy file", "persistence", "when the system likes", Warning, func(i *redis.Inspection) { i.Servers[0].AppendFsync = "no" }},
		{"not told", "persistence", "not known", Note, func(i *redis.Inspection) { i.Servers[0].AppendOnly = "" }},
		{"a clock that is off", "clocks", "ahead", Warning, func(i *redis.Inspection) { i.Servers[0].Ahead = 3 * time.Second }},
		{"a missing right", "permissions", "NOPERM", Error, func(i *redis.Inspection) {
			i.Denied = []redis.Denial{{Grant: "+@write", For: "storing events", Said: "NOPERM"}}
		}},
	} {
		i := &redis.Inspection{Servers: []redis.InspectedServer{good}}
		c.change(i)
		expect(t, c.name, JudgeRedis(i, false, nil), c.level, c.check, c.is)
	}
	expect(t, "nobody there", JudgeRedis(nil, false, errors.New("refused")), Error, "connection", "refused")
}

func TestRun04Data(t *testing.T) {
	good := Data{Path: "d", Looked: "d", Writable: true, Free: 100 << 30, Whole: 200 << 30, Sync: time.Millisecond, Wanted: 1 << 30}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*Data)
	}{
		{"all is well", "", "", "", func(*Data) {}},
		{"not ours", "directory", "may not be written", Error, func(d *Data) { d.Writable = false }},
		{"cannot be made", "directory", "may not be made in up", Error, func(d *Data) { d.Writable, d.Looked = false, "up" }},
		{"no directory", "directory", "no directory", Error, func(d *Data) { d.Err = errors.New("it is no directory") }},
		{"memory", "file system", "tmpfs", Warning, func(d *Data) { d.FileSystem = "tmpfs" }},
		{"network", "file system", "nfs", Warning, func(d *Data) { d.FileSystem = "nfs" }},
		{"a container", "file system", "overlayfs", Warning, func(d *Data) { d.FileSystem = "overlayfs" }},
		{"full", "free space", "are free", Error, func(d *Data) { d.Free = 1 << 20 }},
		{"not enough", "free space", "the apps may keep", Warning, func(d *Data) { d.Wanted = 300 << 30 }},
		{"enough with what is there", "", "", "", func(d *Data) { d.Wanted, d.Used = 110<<30, 20<<30 }},
		{"nearly full", "free space", "less than a tenth", Warning, func(d *Data) { d.Free = 10 << 30 }},
		{"more set aside than allowed", "max_store", "max_store", Error, func(d *Data) { d.Most = 1 << 20 }},
		{"a slow disk", "synchronising", "50ms", Warning, func(d *Data) { d.Sync = 50 * time.Millisecond }},
		{"too slow to wait for", "synchronising", "each event waits", Warning, func(d *Data) { d.Sync, d.Always = 10*time.Millisecond, true }},
	} {
		d := good
		c.change(&d)
		expect(t, c.name, JudgeData(d), c.level, c.check, c.is)
	}
}

// TestRun04DataIsReadWithoutATrace: examining a data directory leaves no trace.
func TestRun04DataIsReadWithoutATrace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "not", "there")
	for path, want := range map[string]Data{dir: {Looked: dir, Used: 1000}, below: {Looked: dir}} {
		d := ReadData(path)
		if d.Err != nil || d.Looked != want.Looked || d.Used != want.Used || !d.Writable || d.Free <= 0 || d.Whole < d.Free {
			t.Errorf("%s: %+v", path, d)
		}
	}
	if d := ReadData(filepath.Join(dir, "x")); d.Err == nil {
		t.Errorf("a file: %+v", d)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestRun04Arrivals(t *testing.T) {
	handshake := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"x"}, "Origin": {"https://example.com"}}
	proxy, client := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("203.0.113.9")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*Arrival, *Proxies)
	}{
		{"a good proxy", "", "", "", func(*Arrival, *Proxies) {}},
		{"no proxy", "", "", "", func(a *Arrival, _ *Proxies) { a.Peer = client; a.Header.Del("X-Forwarded-For") }},
		{"a proxy that is not trusted", "trusted_proxies", "10.0.0.7, which is not trusted", Warning, func(_ *Arrival, p *Proxies) { p.Trusted = nil }},
		{"a header that is not read", "proxy_header", "sends the other one", Warning, func(_ *Arrival, p *Proxies) { p.Header = "forwarded" }},
		{"no header is read", "proxy_header", "proxy_header is none", Warning, func(_ *Arrival, p *Proxies) { p.Header = "none" }},
		{"both headers", "proxy_header", "both", Note, func(a *Arrival, _ *Proxies) { a.Header.Set("Forwarded", "for=203.0.113.9") }},
		{"no address", "address of the client", "in no header", Warning, func(a *Arrival, _ *Proxies) {
			a.Header.Del("X-Forwarded-For")
			a.Header.Set("X-Forwarded-Proto", "https")
		}},
		{"the PROXY protocol", "address of the client", "203.0.113.9", Fine, func(a *Arrival, p *Proxies) { a.Claimed, p.Header = client, "none" }},
		{"the PROXY protocol is required", "proxy_protocol", "does not speak", Error, func(_ *Arrival, p *Proxies) { p.Protocol = "required" }},
		{"the PROXY protocol is off", "proxy_protocol", "is off", Error, func(a *Arrival, p *Proxies) { a.Claimed, p.Protocol = client, "off" }},
		{"the PROXY protocol of a stranger", "trusted_proxies", "such connections are refused", Error, func(a *Arrival, p *Proxies) { a.Claimed, p.Trusted = client, nil }},
		{"the path as it was sent", "path", "as it was sent", Fine, func(a *Arrival, p *Proxies) { a.Path, p.Sent = "/app/a%3B?x=/y", "/app/a%3B" }},
		{"a path that was decoded", "path", `arrived as "/app/a;"`, Error, func(a *Arrival, p *Proxies) { a.Path, p.Sent = "/app/a;?x", "/app/a%3B" }},
		{"a path with a prefix", "path", "as it was sent", Fine, func(a *Arrival, p *Proxies) { a.Path, p.Sent, p.Prefix = "/p/app/a", "/p/app/a", "/p" }},
		{"a prefix that is taken away", "path", "does not begin with path_prefix (/p)", Error, func(a *Arrival, p *Proxies) { a.Path, p.Sent, p.Prefix = "/app/a", "/p/app/a", "/p" }},
		{"a prefix that nobody expects", "path", "path_prefix is not set", Error, func(a *Arrival, p *Proxies) { a.Path, p.Sent = "/p/app/a", "/p/app/a" }},
		{"a prefix that is taken away for good", "path", "/p was taken from its beginning", Warning, func(a *Arrival, p *Proxies) { a.Path, p.Sent = "/app/a", "/p/app/a" }},
		{"another host", "Host", `"gateway:6001"`, Warning, func(a *Arrival, _ *Proxies) { a.Host = "gateway:6001" }},
		{"a handshake that lost its headers", "WebSocket", `Upgrade is ""`, Error, func(a *Arrival, _ *Proxies) { a.Header.Del("Upgrade") }},
		{"a handshake without its connection", "WebSocket", `Connection "close"`, Error, func(a *Arrival, _ *Proxies) { a.Header.Set("Connection", "close") }},
	} {
		a := Arrival{Peer: proxy, Method: "GET", Path: "/app/key", Host: "ws.example.com", Header: handshake.Clone()}
		a.Header.Set("X-Forwarded-For", client.String())
		p := Proxies{Trusted: trusted, Header: "auto", Protocol: "optional", PublicHost: "ws.example.com"}
		c.change(&a, &p)
		expect(t, c.name, JudgeArrival(a, p), c.level, c.check, c.is)
	}
}

func TestRun04PublicAddress(t *testing.T) {
	good := Public{URL: "https://x", Health: 200, TLS: true, Version: "TLS 1.3", Days: 60, Activity: 2 * time.Minute, Silent: 3 * time.Minute}
	for _, c := range []struct {
		name, check, is string
		level           Level
		change          func(*Public)
	}{
		{"all is well", "", "", "", func(*Public) {}},
		{"nobody there", "reachable", "refused", Error, func(p *Public) { p.Err = errors.New("refused") }},
		{"another path", "reachable", "404", Error, func(p *Public) { p.Health = 404 }},
		{"no TLS", "TLS", "not encrypted", Warning, func(p *Public) { p.TLS = false }},
		{"no TLS on this machine", "", "", "", func(p *Public) { p.TLS, p.Local = false, true }},
		{"a certificate that expires", "certificate", "3 days", Warning, func(p *Public) { p.Days = 3 }},
		{"a certificate that has expired", "certificate", "expired", Error, func(p *Public) { p.Days = -1 }},
		{"no handshake", "WebSocket", "400", Error, func(p *Public) { p.Handshake = errors.New("400") }},
		{"a refusal", "WebSocket", "4001", Warning, func(p *Public) { p.Handshake, p.Refused = errors.New("4001"), true }},
		{"a proxy that cuts", "idle connections", "cut after 1m0s", Warning, func(p *Public) { p.Cut = time.Minute }},
		{"not tried", "idle connections", "--idle 2m10s", Note, func(p *Public) { p.Silent = 0 }},
		{"tried for too short a time", "idle connections", "says little", Note, func(p *Public) { p.Silent = time.Second }},
	} {
		p := good
		c.change(&p)
		expect(t, c.name, JudgePublic(p), c.level, c.check, c.is)
	}
}

func TestRun04ReportsCount(t *testing.T) {
	r := NewReport("v", []Finding{{Fine, "a", "x", "is fine", ""}}, []Finding{{Error, "b", "y", "is wrong", "mend it"}, {Warning, "b", "z", "will be", ""}})
	for brief, want := range map[bool]string{
		false: "A\n  fine     x: is fine\n\nB\n  error    y: is wrong\n           -> mend it\n  warning  z: will be\n\n1 error, 1 warning\n",
		true:  "B\n  error    y: is wrong\n           -> mend it\n  warning  z: will be\n\n1 error, 1 warning\n",
	} {
		var b strings.Builder
		if err := r.Print(&b, brief); err != nil || b.String() != want {
			t.Errorf("brief %v:\n%s\nwant\n%s", brief, &b, want)
		}
	}
	if got := fmt.Sprint(bytesOf(10), bytesOf(20<<10), bytesOf(30<<20), bytesOf(40<<30)); got != "10 bytes20 KiB30 MiB40 GiB" {
		t.Error(got)
	}
}
