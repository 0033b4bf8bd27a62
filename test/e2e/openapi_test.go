package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// apiBook is docs/openapi.yaml, with a record of what was tried.
type apiBook struct {
	t   *testing.T
	doc *openapi3.T
	s   *server
	// tried holds the statuses seen, by operation.
	tried map[string]map[int]bool
}

func readAPIBook(t *testing.T) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(filepath.Join(root(), "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// attempt is one request for an operation.
type attempt struct {
	op string
	// in holds the values of the path parameters; query, header and body are sent as they are.
	in, query map[string]string
	header    map[string]string
	body      string
	want      int
	// unsigned leaves the signature out, wrong sends the signature of another request.
	unsigned, wrong bool
	// method replaces the document's method; lines says that the answer is a stream of lines.
	method string
	lines  bool
}

func (b *apiBook) find(op string) (path, method string, o *openapi3.Operation) {
	b.t.Helper()
	for path, item := range b.doc.Paths.Map() {
		for method, o := range item.Operations() {
			if o.OperationID == op {
				return path, method, o
			}
		}
	}
	b.t.Fatalf("the document has no operation %s", op)
	return "", "", nil
}

// try makes the request and compares the answer with the document.
func (b *apiBook) try(c attempt) []byte {
	b.t.Helper()
	path, method, op := b.find(c.op)
	for name, value := range c.in {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	if strings.Contains(path, "{") {
		b.t.Fatalf("%s: something is missing in %s", c.op, path)
	}
	if c.method != "" {
		method = c.method
	}
	query := url.Values{}
	for name, value := range c.query {
		query.Set(name, value)
	}
	signed := op.Security == nil
	if signed && !c.unsigned {
		query.Set("auth_key", "a-key")
		query.Set("auth_timestamp", strconv.FormatInt(time.Now().Unix(), 10))
		query.Set("auth_version", "1.0")
		if c.body != "" {
			sum := md5.Sum([]byte(c.body))
			query.Set("body_md5", hex.EncodeToString(sum[:]))
		}
		secret := "a-secret"
		if c.wrong {
			secret = "another"
		}
		query.Set("auth_signature", pusher.SignRequest(secret, method, path, query))
	}
	address := b.s.HTTP
	if c.op == "metrics" {
		address = b.s.Metrics
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+address+path+"?"+query.Encode(), strings.NewReader(c.body))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(c.op, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != c.want {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		b.t.Fatalf("%s %s: %d, want %d: %s", method, path, answer.StatusCode, c.want, text)
	}
	if c.want < 300 && c.body != "" && op.RequestBody != nil {
		b.conforms(c.op+" request", op.RequestBody.Value.Content.Get("application/json"), []byte(c.body))
	}
	if b.tried[c.op] == nil {
		b.tried[c.op] = map[int]bool{}
	}
	b.tried[c.op][c.want] = true
	return b.answered(c, op, answer)
}

// answered compares an answer with the document's response for its status.
func (b *apiBook) answered(c attempt, op *openapi3.Operation, answer *http.Response) []byte {
	b.t.Helper()
	said := op.Responses.Status(answer.StatusCode)
	if said == nil {
		b.t.Fatalf("%s: the document does not have %d", c.op, answer.StatusCode)
	}
	for name, h := range said.Value.Headers {
		if h.Value.Required && answer.Header.Get(name) == "" {
			b.t.Errorf("%s: %d without %s", c.op, answer.StatusCode, name)
		}
	}
	if len(said.Value.Content) == 0 || (c.op == "event_stream" || c.op == "console_events") && c.want == http.StatusOK {
		return nil
	}
	kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	media := said.Value.Content[kind]
	if err != nil || media == nil {
		b.t.Fatalf("%s: the document does not have %q with %d", c.op, answer.Header.Get("Content-Type"), answer.StatusCode)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(c.op, err)
	}
	switch {
	case c.lines:
		for line := range bytes.Lines(text) {
			b.conforms(c.op, media, line)
		}
	case kind == "application/json":
		b.conforms(c.op, media, text)
	}
	return text
}

func (b *apiBook) conforms(what string, media *openapi3.MediaType, text []byte) {
	b.t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		b.t.Fatalf("%s: %v: %s", what, err, text)
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		b.t.Errorf("%s: %s\n%v", what, text, err)
	}
}

// in returns a map made of pairs.
func in(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

const openAPIServer = `mode: production
host: 127.0.0.1
port: 0
web: {enabled: true}
metrics: {host: 127.0.0.1, port: 0}
log: {format: json}
history: {enabled: true}
nats:
  embedded: {port: -1, store_dir: %q}
apps:
  - {id: an-app, key: a-key, secret: a-secret, enable_user_authentication: true}
  - {id: without, key: b-key, secret: a-secret, enabled: false}
`

// TestRun06EveryRouteAnswersAsTheDocumentSays sends requests for every operation of docs/openapi.yaml and
// compares statuses and bodies with it.
func TestRun06EveryRouteAnswersAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, fmt.Sprintf(openAPIServer, filepath.Join(dir, "store")))
	b := &apiBook{t: t, doc: readAPIBook(t), s: s, tried: map[string]map[int]bool{}}
	app, channel := in("app_id", "an-app"), in("app_id", "an-app", "channel", "presence-room a")
	channel["channel"] = "presence-room"
	stopReading := b.openStream("a-key", "cache-news")
	defer stopReading()
	for _, c := range []attempt{
		{op: "events", in: app, body: `{"name":"e","channels":["presence-room","cache-news"],"data":"{\"n\":1}","info":"subscription_count,user_count,position","tags":{"a":"b"},"extras":{"x":1},"conflation_key":"k","delta":false}`, want: 200},
		{op: "events", in: app, body: `{"name":"e","channel":"cache-news","data":{"n":1}}`, want: 200, header: in("X-Idempotency-Key", "k")},
		{op: "events", in: app, body: `{"name":"e","data":"x"}`, want: 400},
		{op: "events", in: app, body: `{}`, want: 401, wrong: true},
		{op: "events", in: app, want: 405, method: http.MethodGet},
		{op: "events", in: app, body: `{"name":"e","channel":"c","data":"` + strings.Repeat("x", 200<<10) + `"}`, want: 413},
		{op: "events", in: app, body: `{}`, want: 415, header: in("Content-Encoding", "br")},
		{op: "batch_events", in: app, body: `{"batch":[{"name":"e","channel":"presence-room","data":"1","info":"subscription_count,position"},{"name":"e","channel":"c","data":"2"}]}`, want: 200},
		{op: "batch_events", in: app, body: `{"batch":[{"name":"e","channel":"c","data":"1"}]}`, want: 200},
		{op: "batch_events", in: app, body: `{"batch":[]}`, want: 400},
		{op: "channels", in: app, query: in("info", "subscription_count"), want: 200},
		{op: "channels", in: app, query: in("info", "user_count", "filter_by_prefix", "presence-"), want: 200},
		{op: "channels", in: app, query: in("info", "user_count"), want: 400},
		{op: "channels", in: app, unsigned: true, want: 401},
		{op: "channel", in: channel, query: in("info", "subscription_count,user_count"), want: 200},
		{op: "channel", in: in("app_id", "an-app", "channel", "cache-news"), query: in("info", "cache"), want: 200},
		{op: "channel", in: in("app_id", "an-app", "channel", "cache-none"), query: in("info", "cache"), want: 200},
		{op: "channel", in: in("app_id", "an-app", "channel", "not a channel"), want: 400},
		{op: "users", in: channel, want: 200},
		{op: "users", in: in("app_id", "an-app", "channel", "c"), want: 400},
		{op: "history_channels", in: app, query: in("filter_by_prefix", "c", "after", "c", "limit", "1"), want: 200},
		{op: "history_channels", in: app, query: in("limit", "none"), want: 400},
		{op: "history", in: channel, query: in("limit", "1"), want: 200},
		{op: "history", in: channel, query: in("direction", "oldest_first", "start_serial", "1", "end_time_ms", "9007199254740992"), want: 200},
		{op: "history", in: channel, query: in("format", "ndjson"), want: 200, lines: true},
		{op: "history", in: channel, query: in("cursor", "none"), want: 400},
		{op: "history", in: channel, query: in("no_such", "1"), want: 400},
		{op: "history", in: in("app_id", "an-app", "channel", "#server-to-user-u"), want: 422},
		{op: "history_state", in: channel, want: 200},
		{op: "history_state", in: in("app_id", "an-app", "channel", "empty"), want: 200},
		{op: "history_purge", in: channel, body: `{"confirm_channel":"presence-room","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":2,"requested_by":"me"}`, want: 200},
		{op: "history_purge", in: channel, body: `{"confirm_channel":"other","confirm_operation":"purge","reason":"r","mode":"all"}`, want: 400},
		{op: "history_reset", in: channel, body: `{"confirm_channel":"presence-room","confirm_operation":"reset","reason":"r"}`, want: 200},
		{op: "history_reset", in: channel, body: `{"confirm_channel":"presence-room","confirm_operation":"purge","reason":"r"}`, want: 400},
		{op: "history_state", in: channel, want: 200},
		{op: "terminate_connections", in: in("app_id", "an-app", "user_id", "u/1"), body: `{}`, want: 200},
		{op: "terminate_connections", in: in("app_id", "an-app", "user_id", ".."), want: 400},
		{op: "terminate_connections_by_key", in: in("user_id", "u1"), want: 200},
		{op: "terminate_connections_by_key", in: in("user_id", "u1"), wrong: true, want: 401},
		{op: "websocket", in: in("key", "a-key"), query: in("protocol", "7"), want: 101, header: upgrade()},
		{op: "websocket", in: in("key", "a-key"), want: 426},
		{op: "websocket", in: in("key", "a-key"), header: in("Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13"), want: 400},
		{op: "event_stream", in: in("key", "a-key"), query: in("channel", "c"), want: 200},
		{op: "event_stream", in: in("key", "a-key"), want: 400},
		{op: "event_stream", in: in("key", "a-key"), query: in("channel", "private-c"), want: 401},
		{op: "event_stream", in: in("key", "a-key"), query: in("channel", "presence-c"), want: 403},
		{op: "event_stream", in: in("key", "no-key"), query: in("channel", "c"), want: 404},
		{op: "event_stream", in: in("key", "a-key"), query: in("channel", "c"), method: http.MethodPost, want: 405},
		{op: "event_stream_preflight", in: in("key", "a-key"), header: in("Origin", "http://a.example", "Access-Control-Request-Method", "GET"), want: 204},
		{op: "event_stream_preflight", in: in("key", "no-key"), want: 404},
		{op: "health", want: 200},
		{op: "health", want: 405, method: http.MethodPost},
		{op: "up", want: 200},
		{op: "up", want: 405, method: http.MethodDelete},
		{op: "up_app", in: app, want: 200},
		{op: "up_app", in: in("app_id", "without"), want: 404},
		{op: "up_app", in: app, want: 405, method: http.MethodPut},
		{op: "ready", want: 200},
		{op: "ready", want: 405, method: http.MethodOptions},
		{op: "metrics", want: 200},
		{op: "metrics", want: 405, method: http.MethodPost},
		{op: "metrics", want: 403, header: in("Origin", "http://a.example")},
		{op: "page", want: 200},
		{op: "page", want: 405, method: http.MethodPost},
		{op: "assets", in: in("file", "none"), want: 404},
	} {
		b.try(c)
	}
	b.assets()
	b.pages(channel)
	stopReading()
	b.console()
	b.notReady()
	b.everythingWasTried()
}

func upgrade() map[string]string {
	return in("Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

// openStream subscribes an event stream to a channel, so that the channel is occupied.
func (b *apiBook) openStream(key, channel string) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.s.HTTP+"/app/"+key+"/events?channel="+channel, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	for lines := bufio.NewScanner(answer.Body); lines.Scan() && lines.Text() != "event: subscribed"; {
	}
	return func() {
		cancel()
		_ = answer.Body.Close()
	}
}

// assets requests every asset that the page names.
func (b *apiBook) assets() {
	b.t.Helper()
	page := b.try(attempt{op: "page", want: 200})
	found := regexp.MustCompile(`"(?:\./)?assets/([^"?]+)"`).FindAllSubmatch(page, -1)
	for _, m := range found {
		b.try(attempt{op: "assets", in: in("file", string(m[1])), want: 200})
	}
	if len(found) == 0 {
		b.t.Error("the page names no assets")
	}
}

// pages follows a cursor, which a reset invalidates.
func (b *apiBook) pages(channel map[string]string) {
	b.t.Helper()
	for range 2 {
		b.try(attempt{op: "events", in: in("app_id", "an-app"), body: `{"name":"e","channel":"presence-room","data":"1"}`, want: 200})
	}
	var page struct {
		Next *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(b.try(attempt{op: "history", in: channel, query: in("limit", "1"), want: 200}), &page); err != nil || page.Next == nil {
		b.t.Fatalf("no cursor: %v", err)
	}
	b.try(attempt{op: "history", in: channel, query: in("limit", "1", "cursor", *page.Next), want: 200})
}

// console requests the console of a development server.
func (b *apiBook) console() {
	b.t.Helper()
	dir, before := b.t.TempDir(), b.s
	b.s = serve(b.t, dir, config(dir))
	defer func() { b.s = before }()
	stop := b.openStream("app-key", "c")
	defer stop()
	of := in("app", "app-id", "channel", "c")
	for _, c := range []attempt{
		{op: "console_page", want: 200},
		{op: "console_redirect", want: 302},
		{op: "console_redirect", want: 405, method: http.MethodPost},
		{op: "console_login", body: `{"token":""}`, want: 200},
		{op: "console_session", want: 200},
		{op: "console_overview", want: 200},
		{op: "console_channels", query: in("app", "app-id", "sort", "channel"), want: 200},
		{op: "console_channel", query: of, want: 200},
		{op: "console_history", query: of, want: 200},
		{op: "console_members", query: in("app", "app-id", "channel", "presence-c"), want: 200},
		{op: "console_events", query: of, want: 200},
		{op: "console_events", query: in("app", "none", "channel", "c"), want: 404},
		{op: "console_events", method: http.MethodDelete, header: in("Content-Type", "application/json"), want: 405},
		{op: "console_cluster", want: 200},
		{op: "console_cluster", method: http.MethodDelete, header: in("Content-Type", "application/json"), want: 405},
		{op: "console_connection", query: in("id", "none"), want: 404},
		{op: "console_close", body: `{"id":"none"}`, want: 404},
		{op: "console_terminate", body: `{"app":"app-id","user":"u"}`, want: 200},
		{op: "console_terminate", body: `{"app":"none","user":"u"}`, want: 400},
		{op: "console_overview", header: in("Host", "elsewhere.example", "Origin", "http://elsewhere.example"), want: 403},
		{op: "console_logout", body: `{}`, want: 200},
	} {
		if c.body != "" {
			c.header = in("Content-Type", "application/json")
		}
		b.try(c)
	}
	var all struct{ Rows []struct{ ID string } }
	if err := json.Unmarshal(b.try(attempt{op: "console_connections", want: 200}), &all); err != nil || len(all.Rows) == 0 {
		b.t.Fatalf("%v: %+v", err, all)
	}
	id := all.Rows[0].ID
	b.try(attempt{op: "console_connection", query: in("id", id), want: 200})
	b.try(attempt{op: "console_close", body: `{"id":"` + id + `"}`, header: in("Content-Type", "application/json"), want: 200})
}

// notReady requests /ready of a server that was told to stop.
func (b *apiBook) notReady() {
	b.t.Helper()
	dir := b.t.TempDir()
	b.s = serve(b.t, dir, strings.Replace(fmt.Sprintf(openAPIServer, filepath.Join(dir, "store")), "history:", "shutdown: {ready_delay_seconds: 60}\nhistory:", 1))
	if err := b.s.cmd.Process.Signal(os.Interrupt); err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, "it is not ready", func() bool {
		answer, err := http.Get("http://" + b.s.HTTP + "/ready")
		if err != nil {
			b.t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	})
	b.try(attempt{op: "ready", want: 503})
	b.s.kill()
}

// everythingWasTried checks that each operation was requested, and answered with each of its statuses below
// 400.
func (b *apiBook) everythingWasTried() {
	b.t.Helper()
	for path, item := range b.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if n, err := strconv.Atoi(status); err != nil || n < 400 && n != http.StatusNotModified && !b.tried[op.OperationID][n] {
					b.t.Errorf("%s %s was never answered with %s", method, path, status)
				}
			}
		}
	}
}

// TestRun06TheDocumentHasEveryRoute compares the document with the server's routes.
func TestRun06TheDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	doc := readAPIBook(t)
	for _, e := range rest.Endpoints() {
		item := doc.Paths.Value(e.Path)
		if item == nil || item.GetOperation(e.Method) == nil || item.GetOperation(e.Method).OperationID != e.Name {
			t.Errorf("the document lacks %s %s", e.Method, e.Path)
			continue
		}
		var takes []string
		for _, p := range item.GetOperation(e.Method).Parameters {
			if p.Value.In == "query" && p.Value.Name != "body_md5" {
				takes = append(takes, p.Value.Name)
			}
		}
		slices.Sort(takes)
		slices.Sort(e.Takes)
		if !slices.Equal(takes, e.Takes) {
			t.Errorf("%s takes %v, and %v by the document", e.Name, e.Takes, takes)
		}
	}
	codes := doc.Components.Schemas["Error"].Value.Properties["code"].Value.Enum
	for _, code := range rest.Codes {
		if !slices.Contains(codes, any(code)) {
			t.Errorf("the document lacks the code %s", code)
		}
	}
	if len(codes) != len(rest.Codes) {
		t.Errorf("the document has %d codes, the server %d", len(codes), len(rest.Codes))
	}
	page, err := os.ReadFile(filepath.Join(root(), "docs", "console.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range console.Routes() {
		item := doc.Paths.Value(console.Root + name)
		if item == nil {
			t.Errorf("the document lacks %s%s", console.Root, name)
			continue
		}
		var takes, shown []string
		if item.Get != nil {
			for _, p := range item.Get.Parameters {
				takes = append(takes, p.Value.Name)
			}
		}
		if row := regexp.MustCompile("`GET " + name + `\?([^` + "`]*)`").FindSubmatch(page); row != nil {
			for _, m := range regexp.MustCompile(`(\w+)=`).FindAllSubmatch(row[1], -1) {
				shown = append(shown, string(m[1]))
			}
		}
		if !slices.Equal(takes, shown) {
			t.Errorf("%s takes %v by the document, and %v by docs/console.md", name, takes, shown)
		}
	}
	// The other routes are in the files that dispatch requests.
	for _, file := range []string{"node.go", "listeners.go"} {
		text, err := os.ReadFile(filepath.Join(root(), "gateway", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(?:GET |POST )?(/[a-z/]+)"`).FindAllSubmatch(text, -1) {
			path := string(m[1])
			known := slices.ContainsFunc(doc.Paths.InMatchingOrder(), func(p string) bool {
				return p == path || strings.HasSuffix(path, "/") && strings.HasPrefix(p, path)
			})
			if !known && path != "/app" {
				t.Errorf("gateway/%s knows %s, and the document does not", file, path)
			}
		}
	}
}
