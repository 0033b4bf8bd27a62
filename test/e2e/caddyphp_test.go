//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/test/fault"
)

// blocksOf are the blocks of a kind in a page.
func blocksOf(t *testing.T, page, kind string) (out []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("%s has no block of %s", page, kind)
	}
	return out
}

// TestRun17CaddyOfThePages runs Caddy with the block of docs/proxies.md in front of two gateways, changed
// in addresses alone. The Caddy of Debian is older than stream_close_delay, so that line is left out there.
func TestRun17CaddyOfThePages(t *testing.T) {
	t.Parallel()
	const keys = "proxy_header: x-forwarded-for"
	one, two := proxiedGateway(t, keys), proxiedGateway(t, keys)
	text := blocksOf(t, "proxies.md", "caddy")[0]
	if out, err := exec.CommandContext(t.Context(), "caddy", "version").Output(); err != nil {
		t.Fatalf("caddy is not installed; scripts/test does that: %v", err)
	} else if regexp.MustCompile(`^v?2\.[0-6]\.`).Match(out) {
		text = strings.Replace(text, "        stream_close_delay 1h\n", "", 1)
	}
	address := fmt.Sprint("127.0.0.1:", fault.Ports(t, 1)[0])
	text = strings.NewReplacer("realtime.example.com {", "http://"+address+" {\n    bind 127.0.0.1", "10.0.0.11:6001", one.HTTP, "10.0.0.12:6001", two.HTTP).Replace(text)
	dir := t.TempDir()
	b := &balancer{t: t, plain: address, secure: address}
	b.run(dir, "{\n    admin off\n    persist_config off\n}\n"+text, "caddy", "run", "--adapter", "caddyfile", "--config")
	signed, err := client.NewSigned(client.SignedOptions{URL: "http://" + address, AppID: appID, Key: appKey, Secret: appSecret})
	if err != nil {
		t.Fatal(err)
	}
	listens, err := client.Dial(t.Context(), client.Options{URL: "http://" + address, Key: appKey, HandshakeTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer listens.Close()
	if err := listens.Subscribe(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an event comes through Caddy", func() bool {
		if err := signed.Publish(t.Context(), client.Publish{Name: "n", Data: "through caddy", Channels: []string{"lobby"}}); err != nil {
			return false
		}
		select {
		case e := <-listens.Events():
			return strings.Contains(string(e.Data), "through caddy")
		default:
			return false
		}
	})
}

// php runs a script.
func php(t *testing.T, dir, script string) string {
	t.Helper()
	file := filepath.Join(dir, "page.php")
	write(t, file, []byte("<?php\nerror_reporting(E_ALL);\nset_error_handler(fn ($n, $s) => throw new Exception($s));\n"+script))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "php", file).CombinedOutput()
	if err != nil {
		t.Fatalf("php, which scripts/test installs: %v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// TestRun17PHPOfThePages has PHP run the blocks of docs/laravel.md: the configuration with the `.env` beside
// it, and who may listen. With what comes of the configuration it signs an event as the protocol says,
// and the server takes it.
func TestRun17PHPOfThePages(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	s := serve(t, data, config(data))
	host, port, _ := strings.Cut(s.HTTP, ":")
	env := strings.NewReplacer("PUSHER_APP_ID=4711", "PUSHER_APP_ID=app-id", "my-public-key", "app-key", "the-same-as-in-the-file", "app-secret",
		"PUSHER_HOST=127.0.0.1", "PUSHER_HOST="+host, "PUSHER_PORT=6001", "PUSHER_PORT="+port).Replace(blocksOf(t, "laravel.md", "ini")[0])
	write(t, filepath.Join(dir, "env"), []byte(env))
	blocks := blocksOf(t, "laravel.md", "php")
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of PHP; this test knows two", len(blocks))
	}
	// env() of Laravel, as far as the pages need it.
	said := php(t, dir, `function env($name, $else = null) {
    static $all;
    if (!$all) foreach (file(__DIR__ . '/env') as $line) if (strpos($line, '=')) { [$k, $v] = explode('=', trim($line), 2); $all[$k] = $v; }
    return $all[$name] ?? $else;
}
$connections = [
`+blocks[0]+`];
$to = $connections['pusher'];
if ($to['options']['useTLS'] !== false || $to['options']['cluster'] !== 'none' || $to['driver'] !== 'pusher') throw new Exception('options: ' . json_encode($to));
$body = json_encode(['name' => 'OrderShipped', 'channels' => ['private-orders.7'], 'data' => json_encode(['id' => 7])]);
$path = '/apps/' . $to['app_id'] . '/events';
$query = ['auth_key' => $to['key'], 'auth_timestamp' => time(), 'auth_version' => '1.0', 'body_md5' => md5($body)];
ksort($query);
$query['auth_signature'] = hash_hmac('sha256', "POST\n$path\n" . http_build_query($query), $to['secret']);
$o = $to['options'];
echo file_get_contents($o['scheme'] . '://' . $o['host'] . ':' . $o['port'] . $path . '?' . http_build_query($query), false,
    stream_context_create(['http' => ['method' => 'POST', 'header' => 'Content-Type: application/json', 'content' => $body]]));
`)
	if !json.Valid([]byte(said)) {
		t.Errorf("the server answers %q", said)
	}
	said = php(t, dir, `class Broadcast { static $all = []; static function channel($name, $who) { self::$all[$name] = $who; } }
class User { public $id = 5; public $name = 'Ada'; function ownsOrder($id) { return $id === 7; } }
`+blocks[1]+`
echo json_encode([Broadcast::$all['orders.{id}'](new User, 7), Broadcast::$all['orders.{id}'](new User, 8), Broadcast::$all['lobby'](new User)]);
`)
	if said != `[true,false,{"id":5,"name":"Ada"}]` {
		t.Errorf("who may listen is %s", said)
	}
}
