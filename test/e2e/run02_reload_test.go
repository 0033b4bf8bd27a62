package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/fault"
)

// keyPair holds the credentials of an app.
type keyPair struct{ key, secret string }

// postSigned publishes one event with the given credentials, and returns the status and the answer.
func postSigned(c *http.Client, address, app string, by keyPair, channel, data string) (int, string, error) {
	body, err := json.Marshal(map[string]any{"name": "e", "channel": channel, "data": data})
	if err != nil {
		return 0, "", err
	}
	sum := md5.Sum(body)
	path := "/apps/" + app + "/events"
	params := url.Values{
		"auth_key": {by.key}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
		"auth_version": {"1.0"}, "body_md5": {hex.EncodeToString(sum[:])},
	}
	params.Set("auth_signature", pusher.SignRequest(by.secret, http.MethodPost, path, params))
	resp, err := c.Post("http://"+address+path+"?"+params.Encode(), "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(answer)), err
}

// tenant is an app as a configuration file describes it.
type tenant struct {
	id       string
	disabled bool
	// keys holds valid pairs only: the current pair first, then the previous ones.
	keys      []keyPair
	payloadKB int
	delta     string
	conflate  bool
	origins   bool
	history   int
}

func (a *tenant) yaml(dir string, inFile bool) string {
	secret := fmt.Sprintf("secret: %s", a.keys[0].secret)
	if inFile {
		secret = fmt.Sprintf("secret_file: %q", filepath.Join(dir, a.id+".secret"))
	}
	text := fmt.Sprintf("  - {id: %s, key: %s, %s, enabled: %v, max_event_payload_in_kb: %d, history_max_messages: %d",
		a.id, a.keys[0].key, secret, !a.disabled, a.payloadKB, a.history)
	if len(a.keys) > 1 {
		text += ", previous_keys: ["
		for _, k := range a.keys[1:] {
			text += fmt.Sprintf("{key: %s, secret: %s, until: 2999-01-01T00:00:00Z}, ", k.key, k.secret)
		}
		text += "]"
	}
	if a.delta != "" {
		text += fmt.Sprintf(", channel_delta_compression: {\"*\": %s}", a.delta)
	}
	if a.conflate {
		text += ", slow_client_policy: conflate"
	}
	if a.origins {
		text += ", allowed_origins: [https://example.com]"
	}
	return text + "}\n"
}

// tenants holds the apps of a file by id.
type tenants map[string]*tenant

func (all tenants) clone() tenants {
	out := tenants{}
	for id, a := range all {
		b := *a
		b.keys = append([]keyPair{}, a.keys...)
		out[id] = &b
	}
	return out
}

// mutate changes the apps at random, to another valid configuration.
func (all tenants) mutate(r *rand.Rand, step int) {
	ids := []string{"a0", "a1", "a2"}
	id := ids[r.IntN(len(ids))]
	a := all[id]
	switch n := r.IntN(10); {
	case a == nil:
		all[id] = &tenant{id: id, payloadKB: 10, history: 1000, keys: []keyPair{{fmt.Sprintf("%s-key-%d", id, step), fmt.Sprintf("%s-secret-%d", id, step)}}}
	case n == 0:
		delete(all, id)
	case n == 1:
		a.disabled = !a.disabled
	case n <= 3: // rotate, with an overlap
		a.keys = append([]keyPair{{fmt.Sprintf("%s-key-%d", id, step), fmt.Sprintf("%s-secret-%d", id, step)}}, a.keys...)
		a.keys = a.keys[:min(len(a.keys), 3)]
	case n == 4: // another secret alone
		a.keys = append([]keyPair{{a.keys[0].key, fmt.Sprintf("%s-secret-%d", id, step)}}, a.keys...)
		a.keys = a.keys[:min(len(a.keys), 3)]
	case n == 5:
		a.keys = a.keys[:1]
	case n == 6:
		a.history = 500 + r.IntN(500)
	default:
		a.payloadKB = 1 + r.IntN(20)
	}
	home := all["home"]
	switch r.IntN(4) {
	case 0:
		home.delta = []string{"", "xdelta3", "disabled", "{conflation_key: k}", "{conflation_key: n, max_conflation_keys: 2}", "{algorithm: fossil, enable_tags: false}"}[r.IntN(6)]
	case 1:
		home.conflate, home.origins = r.IntN(2) == 0, r.IntN(2) == 0
	}
}

// broken turns a valid file into an invalid one.
func broken(r *rand.Rand, text string) string {
	switch r.IntN(6) {
	case 0:
		return text + "histroy: {}\n"
	case 1:
		return text[:len(text)-8] + "\n"
	case 2:
		return ""
	case 3:
		return strings.Replace(text, "enabled: true", "enabled: perhaps", 1)
	case 4:
		return text + "  - {id: home, key: another, secret: another}\n"
	}
	return text + "  - {id: zz, key: zz, secret_file: /nonexistent/secret}\n"
}

// hot is a server whose configuration file changes while it is used.
type hot struct {
	*server
	t      *testing.T
	client *http.Client
	inFile bool
	links  int
}

// put replaces the file in one of the usual ways.
func (h *hot) put(r *rand.Rand, text string) {
	h.t.Helper()
	file := filepath.Join(h.dir, "sluice.yaml")
	var err error
	switch r.IntN(3) {
	case 0:
		if err = os.Remove(file); err == nil {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
	case 1:
		if err = os.WriteFile(file+".new", []byte(text), 0o600); err == nil {
			err = os.Rename(file+".new", file)
		}
	case 2:
		h.links++
		data := fmt.Sprintf("data-%d.yaml", h.links)
		if err = os.WriteFile(filepath.Join(h.dir, data), []byte(text), 0o600); err == nil {
			if err = os.Symlink(data, file+".link"); err == nil {
				err = os.Rename(file+".link", file)
			}
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// text returns the configuration file for these apps. Secrets that are kept in files of their own are
// written, too.
func (h *hot) text(all tenants) string {
	h.t.Helper()
	out := configOfHot(h.dir)
	for _, id := range []string{"home", "a0", "a1", "a2"} {
		a := all[id]
		if a == nil {
			continue
		}
		inFile := h.inFile && id != "home"
		if inFile {
			if err := os.WriteFile(filepath.Join(h.dir, id+".secret"), []byte(a.keys[0].secret+"\n"), 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
		out += a.yaml(h.dir, inFile)
	}
	return out
}

func configOfHot(dir string) string {
	return fmt.Sprintf(`mode: production
host: 127.0.0.1
port: 0
metrics: {host: 127.0.0.1, port: 0}
config: {watch: false}
log: {format: json}
history: {enabled: true}
nats:
  embedded: {port: -1, store_dir: %q}
apps:
`, filepath.Join(dir, "store"))
}

// metric returns the sum of all series whose names begin with name.
func (h *hot) metric(name string) (sum float64) {
	h.t.Helper()
	for head, n := range h.metrics() {
		if strings.HasPrefix(head, name) {
			sum += n
		}
	}
	return sum
}

// reloads returns how often the file was read again, and how many of these reloads were refused.
func (h *hot) reloads() (all, refused float64) {
	return h.metric("sockudo_config_reloads_total"), h.metric("sockudo_config_reloads_total{result=\"refused\"}")
}

func (h *hot) metrics() map[string]float64 {
	h.t.Helper()
	resp, err := h.client.Get("http://" + h.Metrics + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	out := map[string]float64{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if head, value, _ := strings.Cut(line, " "); !strings.HasPrefix(line, "#") {
			out[head], _ = strconv.ParseFloat(value, 64)
		}
	}
	return out
}

func (h *hot) hangup(before float64) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "the file was read again", func() bool { all, _ := h.reloads(); return all > before })
}

// ready returns the status and body of /ready.
func (h *hot) ready() (int, string) {
	h.t.Helper()
	resp, err := h.client.Get("http://" + h.HTTP + "/ready")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// inForce checks that the server behaves as the apps say, and that it refuses the stale keys.
func (h *hot) inForce(all tenants, stale []keyPair) {
	h.t.Helper()
	want := func(what, app string, by keyPair, size, status int) {
		h.t.Helper()
		got, answer, err := postSigned(h.client, h.HTTP, app, by, "probe", strings.Repeat("x", size))
		if err != nil || got != status {
			h.t.Errorf("%s of %s with %s: %d %s %v, want %d", what, app, by.key, got, answer, err, status)
		}
	}
	for _, id := range []string{"a0", "a1", "a2"} {
		a := all[id]
		switch {
		case a == nil:
			want("an app that is not there", id, keyPair{id, id}, 1, http.StatusUnauthorized)
		case a.disabled:
			want("a disabled app", id, a.keys[0], 1, http.StatusForbidden)
		default:
			for _, k := range a.keys {
				want("a key that counts", id, k, 1, http.StatusOK)
			}
			want("the largest event", id, a.keys[0], a.payloadKB<<10, http.StatusOK)
			want("a larger event", id, a.keys[0], a.payloadKB<<10+1, http.StatusRequestEntityTooLarge)
		}
		for _, k := range stale {
			if a == nil || !slices.Contains(a.keys, k) {
				want("a key that counts no more", id, k, 1, http.StatusUnauthorized)
			}
		}
	}
}

// connect opens a connection that is not reopened when it ends.
func (h *hot) connect(opt client.Options) *client.Client {
	h.t.Helper()
	opt.URL, opt.HandshakeTimeout = "http://"+h.HTTP, patience
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, opt)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// receiver checks that the numbers published to the app "home" arrive in order.
type receiver struct {
	*client.Client
	mu   sync.Mutex
	next int
	bad  string
}

func (h *hot) receive(opt client.Options, channel string) *receiver {
	h.t.Helper()
	r := &receiver{}
	opt.OnEvent = func(ev client.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if want := numbered(r.next); string(ev.Data) != want && r.bad == "" {
			r.bad = fmt.Sprintf("event %d is %.200s, want %.200s", r.next, ev.Data, want)
		}
		r.next++
	}
	r.Client = h.connect(opt)
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := r.Subscribe(ctx, channel); err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (r *receiver) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// numbered returns the data of the nth event. Most of it is the same each time.
func numbered(n int) string {
	return fmt.Sprintf(`{"k":"%d","n":%d,"same":%q}`, n%3, n, strings.Repeat("text that stays as it is ", 8))
}

// TestRun02RandomFilesInARowUnderLoad has a server read random good and bad files under load. The last good
// file is always in force, every event reaches all subscribers in order, and only connections of removed or
// disabled apps are closed.
func TestRun02RandomFilesInARowUnderLoad(t *testing.T) {
	files := 20
	if fault.Long() {
		files = 500
	}
	fault.Seeds(t, 0x02, func(t *testing.T, r *rand.Rand) { randomFiles(t, r, files) })
}

func randomFiles(t *testing.T, r *rand.Rand, files int) {
	dir := t.TempDir()
	good := tenants{"home": {id: "home", keys: []keyPair{{"home-key", "home-secret"}}, payloadKB: 10, history: 1000}}
	h := &hot{t: t, client: &http.Client{Timeout: patience}, inFile: r.IntN(2) == 0}
	defer h.client.CloseIdleConnections()
	h.server = &server{dir: dir}
	h.server = serve(t, dir, h.text(good))

	receivers := []*receiver{
		h.receive(client.Options{Key: "home-key"}, "ticks"),
		h.receive(client.Options{Key: "home-key", Delta: true}, "ticks"),
		h.receive(client.Options{Key: "home-key", Delta: true, Protocol: pusher.V2, Algorithms: []string{"xdelta3"}}, "ticks"),
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	published := 0
	publishing.Go(func() {
		own := &http.Client{Timeout: patience}
		defer own.CloseIdleConnections()
		for ; ; published++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond): // or it takes the processors from those who read
			}
			if status, answer, err := postSigned(own, h.HTTP, "home", keyPair{"home-key", "home-secret"}, "ticks", numbered(published)); status != http.StatusOK {
				t.Errorf("event %d was not published: %d %s %v", published, status, answer, err)
				return
			}
		}
	})
	h.throughFiles(r, good, files)
	// A new client gets the current rules.
	close(stop)
	publishing.Wait()
	for i, c := range receivers {
		eventually(t, "everything has arrived", func() bool { return c.seen() >= published })
		if c.bad != "" || c.seen() != published {
			t.Errorf("receiver %d: %d of %d events: %s", i, c.seen(), published, c.bad)
		}
		if c.Err() != nil {
			t.Errorf("receiver %d was closed: %v", i, c.Err())
		}
	}
	t.Logf("%d events were published", published)
}

// throughFiles puts random good and bad files in place and checks the server after each.
func (h *hot) throughFiles(r *rand.Rand, good tenants, files int) {
	t := h.t
	sockets := map[string]*client.Client{}
	var stale []keyPair
	for step := range files {
		before, refused := h.reloads()
		bad := r.IntN(3) == 0
		if bad {
			h.put(r, broken(r, h.text(good)))
		} else {
			was := good
			good = good.clone()
			good.mutate(r, step)
			for id, a := range was {
				for _, k := range a.keys {
					if now := good[id]; now == nil || !slices.Contains(now.keys, k) {
						stale = append(stale[max(0, len(stale)-3):], k)
					}
				}
			}
			h.put(r, h.text(good))
		}
		h.hangup(before)
		if _, now := h.reloads(); now > refused != bad {
			t.Fatalf("step %d: a bad file: %v, refused: %v\n%s", step, bad, now > refused, tail(h.logs.String(), 1000))
		}
		status, says := h.ready()
		if status != http.StatusOK || strings.Contains(says, "the configuration was read again and has errors") != bad {
			t.Errorf("step %d: after a bad file (%v) /ready says %d %s", step, bad, status, says)
		}
		h.inForce(good, stale)
		h.sockets(good, sockets)
		if t.Failed() {
			t.Fatalf("that was step %d", step)
		}
	}
}

// sockets checks which connections were closed, and opens the missing ones.
func (h *hot) sockets(good tenants, sockets map[string]*client.Client) {
	h.t.Helper()
	for id, w := range sockets {
		a := good[id]
		code := pusher.CloseCode(0)
		switch {
		case a == nil:
			code = pusher.CloseNoSuchApp
		case a.disabled:
			code = pusher.CloseAppDisabled
		default:
			if w.Err() != nil {
				h.t.Errorf("a connection of %s was closed: %v", id, w.Err())
			}
			continue
		}
		<-w.Done()
		var closed *client.CloseError
		if !errors.As(w.Err(), &closed) || closed.Code != int(code) {
			h.t.Errorf("a connection of %s ended with %v, want %d", id, w.Err(), code)
		}
		delete(sockets, id)
	}
	for id, a := range good {
		if sockets[id] == nil && !a.disabled && id != "home" {
			// Any valid key will do.
			sockets[id] = h.connect(client.Options{Key: a.keys[len(a.keys)-1].key})
		}
	}
}
