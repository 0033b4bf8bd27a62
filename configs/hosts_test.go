package configs

import (
	"net"
	"strings"
	"testing"
)

// TestHostsThatTheCheckTakesCanBeListenedOn: for every listener, the check refuses the hosts that the start
// would refuse, and no others, except for what the library accepts in brackets by accident.
func TestHostsThatTheCheckTakesCanBeListenedOn(t *testing.T) {
	const app = "mode: production\napps: [{id: a, key: k, secret: s}]\n"
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost", "LOCALHOST", "0.0.0.0", "::", "[::]", "::ffff:127.0.0.1",
		"*", "127.0.0.1:80", "[::1]:80", "[127.0.0.1]", "[localhost]", "[::1", "::1]", "[]", "a b", "127.1", "0", "1.2.3.256", " 127.0.0.1", "http://127.0.0.1", "a..b", ".a", "-a", "a/b", "münchen", strings.Repeat("a", 64), "user@host",
	} {
		for key, more := range map[string]string{
			"host": "", "metrics.host": "metrics: {token: t0ken}\n", "console.host": "console: {enabled: true, token: abcdefghijklmnop}\n", "nats.embedded.host": "",
		} {
			c, err := Load(Sources{File: write(t, "c.yaml", app+more+key+": '"+host+"'\n")})
			if err != nil {
				if l, listens := net.Listen("tcp", net.JoinHostPort(host, "0")); listens == nil && host[0] != '[' {
					_ = l.Close()
					if !strings.Contains(err.Error(), "lets in whoever") {
						t.Errorf("%s: %q can be listened on, and is refused: %v", key, host, err)
					}
				}
				if !strings.Contains(err.Error(), key) {
					t.Errorf("%s: %q: the error does not name the key: %v", key, host, err)
				}
				continue
			}
			at := map[string]string{"host": c.Host, "metrics.host": c.Metrics.Host, "console.host": c.Console.Host, "nats.embedded.host": c.NATS.Embedded.Host}[key]
			l, err := net.Listen("tcp", net.JoinHostPort(at, "0"))
			if err != nil {
				if strings.Contains(host, ":") && strings.Contains(err.Error(), "cannot assign") {
					continue // this machine has no IPv6
				}
				t.Errorf("%s: %q is taken as %q, and cannot be listened on: %v", key, host, at, err)
				continue
			}
			_ = l.Close()
		}
	}
}

func TestListenersHavePortsOfTheirOwn(t *testing.T) {
	const app = "mode: production\napps: [{id: a, key: k, secret: s}]\n"
	for text, says := range map[string]string{
		"port: 9601":                                            "metrics.port is 9601, which is that of port",
		"host: 127.0.0.1\nmetrics.port: 6001":                   "metrics.port is 6001, which is that of port",
		"host: '::'\nmetrics.port: 6001":                        "metrics.port is 6001, which is that of port",
		"port: 4222":                                            "nats.embedded.port is 4222, which is that of port",
		"host: 127.0.0.1\ndebug.pprof: '[::1]:6001'":            "",
		"debug.pprof: 127.0.0.1:9601":                           "debug.pprof is 9601, which is that of metrics.port",
		"host: 127.0.0.1\nport: 9602\nconsole: {enabled: true}": "console.port is 9602, which is that of port",
		"port: 9602":                                            "",
		"host: 192.0.2.1\nmetrics.port: 6001":                   "",
		"host: localhost\nmetrics.port: 6001":                   "metrics.port is 6001, which is that of port",
		"host: host.example\nmetrics: {host: '::', token: abcdefghijklmnopq, port: 6001}": "metrics.port is 6001, which is that of port",
		"host: host.example\nmetrics.port: 6001":                                          "",
		"port: 0\nmetrics.port: 0":                                                        "",
		"port: 9601\nmetrics.port: -1":                                                    "",
		"port: 4222\nadapter.driver: local":                                               "",
		"tls: {cert_file: c, key_file: k, http_port: 6001}":                               "tls.http_port is 6001, which is that of port",
	} {
		_, err := Load(Sources{File: write(t, "c.yaml", app+text+"\n")})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func TestAddressesOfServersAreChecked(t *testing.T) {
	const app = "mode: production\nhost: 127.0.0.1\napps: [{id: a, key: k, secret: s}]\n"
	redis, cluster := "adapter.driver: redis\nredis_url: ", "adapter.driver: redis-cluster\nredis_url: "
	for text, ok := range map[string]bool{
		redis + "redis://h": true, redis + "redis://h:6379/3": true, redis + "rediss://u:p@h:1": true, redis + "redis://[::1]:6379": true, redis + "REDIS://h": true, redis + "redis://h?addr=i:1": true,
		cluster + "redis://h:1": true, cluster + "redis://h:1/0": true, cluster + "redis://h:1?addr=i:1&addr=[::1]:2": true,
		redis + "foo": false, redis + "http://h": false, redis + "unix:///tmp/s": false, redis + "redis://h:99999": false, redis + "redis://h:0": false, redis + "redis://h:": false, redis + "redis://::1": false,
		redis + "redis://h/x": false, redis + "redis://h/": false, redis + "redis://h/-1": false, redis + "h:6379": false, redis + "redis://h?addr=": false, redis + "redis://h?addr=i": false, redis + "redis://h?addr=i:x": false, cluster + "redis://h/1": false,
		// This address is not used.
		"redis_url: foo": true,
		"nats.url: n:1":  true, "nats.url: [nats://n:1, tls://m]": true, "nats.url: [ws://n, wss://m]": true, "nats.url: '[::1]:1'": true,
		"nats.url: nats://n:99999": false, "nats.url: nats://n:0": false, "nats.url: [nats://n, ws://m]": false, "nats.url: '::1'": false, "nats.url: 'nats://n:'": false,
		"tracing.endpoint: http://h:99999": false, "tracing.endpoint: http://[::1]:1/v1": true, "tracing.endpoint: http://::1/v1": false,
		"tls.acme.directory_url: https://h:99999": false,
		"path_prefix: /..":                        false, "path_prefix: /a/./b": false, "path_prefix: /a.b/..c": true,
	} {
		if _, err := Load(Sources{File: write(t, "c.yaml", app+text+"\n")}); (err == nil) != ok {
			t.Errorf("%s: %v, want accepted %v", text, err, ok)
		}
	}
}

// TestAnAddressFromAFileThatNamesAnotherServerNeedsARestart: the user and the password are read again
// whenever they are needed, but no other part of the address.
func TestAnAddressFromAFileThatNamesAnotherServerNeedsARestart(t *testing.T) {
	read := func(address string) *Config {
		c := load(t, Sources{File: write(t, "c.yaml", "host: 127.0.0.1\nadapter.driver: redis\nredis_url: "+address+"\napps: [{id: a, key: k, secret: s}]\n")})
		c.values["redis_url_file"] = "/run/secrets/redis"
		return c
	}
	was := read("redis://u:p@one:6379/0")
	for address, waits := range map[string]bool{
		"redis://u:q@one:6379/0": false, "redis://v:q@one:6379/0": false, "redis://u:p@two:6379/0": true, "redis://u:p@one:6379/1": true, "rediss://u:p@one:6379/0": true,
	} {
		if _, _, rest := was.Changed(read(address)); (len(rest) > 0) != waits {
			t.Errorf("%s: %v waits for a restart, want %v", address, rest, waits)
		}
	}
}
