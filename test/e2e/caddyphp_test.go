//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocksOf returns the code blocks of a language in a page.
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

// TestRun17CaddyOfThePages has Caddy load the block of docs/proxies.md, with addresses of this machine.
// Debian's Caddy is older than stream_close_delay and health_fails, so these are removed there.
func TestRun17CaddyOfThePages(t *testing.T) {
	t.Parallel()
	text := blocksOf(t, "proxies.md", "caddy")[0]
	version, err := exec.CommandContext(t.Context(), "caddy", "version").Output()
	if err != nil {
		t.Fatalf("caddy is not installed; scripts/test does that: %v", err)
	}
	if regexp.MustCompile(`^v?2\.[0-6]\.`).Match(version) {
		text = strings.NewReplacer("        stream_close_delay 1h\n", "", "        health_fails 2\n", "").Replace(text)
	}
	text = strings.NewReplacer("realtime.example.com {", "http://127.0.0.1:6080 {", "10.0.0.11:", "127.0.0.1:", "10.0.0.12:", "127.0.0.1:").Replace(text)
	dir := t.TempDir()
	check := func(text string) (string, error) {
		file := filepath.Join(dir, "Caddyfile")
		write(t, file, []byte(text))
		cmd := exec.CommandContext(t.Context(), "caddy", "validate", "--adapter", "caddyfile", "--config", file)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(text); err != nil || !strings.Contains(out, "Valid configuration") {
		t.Errorf("%v\n%s\n%s", err, text, out)
	}
	if out, err := check(strings.Replace(text, "lb_policy least_conn", "lb_policy no_such_policy", 1)); err == nil {
		t.Errorf("a block that is wrong is taken: %s", out)
	}
}

// php runs a script and returns its output.
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
// it, and the channel authorization. An event signed with the resulting configuration is accepted by the
// server.
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
	// This is Laravel's env(), as far as the pages need it.
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
