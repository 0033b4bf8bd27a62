package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/web"
)

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:6001"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var dataBlock = regexp.MustCompile(`(?s)<script type="application/json" id="config">(.*?)</script>`)

func TestPageCarriesItsConfiguration(t *testing.T) {
	// Values that would end the block or start another element if they were
	// written as they are.
	opt := web.Options{
		AppID: `app</script><img src=x>`, AppKey: `k"'&<!--`, Channels: []string{"a", "\u2028"},
		Example: "my-channel", Subject: "ch.app-id.my-channel", NATSURL: "nats://127.0.0.1:4333", Version: "v1",
	}
	text := body(t, get(t, web.Handler(opt), "GET", "/"))
	found := dataBlock.FindAllStringSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%d data blocks in the page, want 1", len(found))
	}
	// The names in JSON differ from the fields' only in case.
	var got web.Options
	if err := json.Unmarshal([]byte(found[0][1]), &got); err != nil {
		t.Fatalf("configuration is not JSON: %v in %s", err, found[0][1])
	}
	if diff := cmp.Diff(opt, got); diff != "" {
		t.Errorf("configuration differs (-want +got):\n%s", diff)
	}
	if strings.Contains(text, "<img src=x>") {
		t.Error("a value became an element")
	}
}

func TestPageSubscribesToTheDemoByDefault(t *testing.T) {
	text := body(t, get(t, web.Handler(web.Options{AppID: "i", AppKey: "k"}), "GET", "/"))
	if want := `"channels":["host-metrics","lobby"]`; !strings.Contains(text, want) {
		t.Errorf("the page does not contain %s", want)
	}
}

func TestSuggestedServerOfNATS(t *testing.T) {
	for _, c := range []struct{ name, given, want string }{
		{"none", "", ""},
		{"the tool's own", "nats://127.0.0.1:4222", ""},
		{"another", "nats://127.0.0.1:4333", "nats://127.0.0.1:4333"},
		{"no address", "3 server(s)", ""},
	} {
		text := body(t, get(t, web.Handler(web.Options{AppID: "i", AppKey: "k", NATSURL: c.given}), "GET", "/"))
		if want := `"natsURL":"` + c.want + `"`; !strings.Contains(text, want) {
			t.Errorf("%s: the page does not contain %s", c.name, want)
		}
	}
}

func TestEveryFileThatIsReferredToIsServed(t *testing.T) {
	h := web.Handler(web.Options{AppID: "i", AppKey: "k"})
	todo := []string{"/"}
	seen := map[string]bool{}
	reference := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"|from '\./([^']+)'`)
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		r := get(t, h, "GET", path)
		if r.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d", path, r.StatusCode)
			continue
		}
		if r.Header.Get("Content-Type") == "" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: headers %v", path, r.Header)
		}
		text := body(t, r)
		if strings.Contains(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), "//cdn") || strings.Contains(text, "https://") {
			t.Errorf("%s refers to another server", path)
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if m[1] != "" {
				todo = append(todo, "/"+m[1])
			} else {
				todo = append(todo, path[:strings.LastIndexByte(path, '/')+1]+m[2])
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d files are reachable from the page: %v", len(seen), seen)
	}
}

// TestRun05ThePageOfTheConsole: the page is served with its files, alone and beside the other page, and
// contains nothing of the server.
func TestRun05ThePageOfTheConsole(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="\.\.(/assets/[^"]+)"|from '\./([^']+)'`)
	for name, h := range map[string]http.Handler{"alone": web.Console("v1"), "beside": web.Handler(web.Options{AppID: "i", AppKey: "k", Console: true})} {
		todo, seen := []string{"/console/"}, map[string]bool{}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			if seen[path] {
				continue
			}
			seen[path] = true
			r := get(t, h, "GET", path)
			text := body(t, r)
			if r.StatusCode != http.StatusOK || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s: %s: status %d, headers %v", name, path, r.StatusCode, r.Header)
			}
			if strings.Contains(text, "https://") || strings.Contains(text, "innerHTML") || strings.Contains(text, "insertAdjacentHTML") || strings.Contains(text, "document.write") {
				t.Errorf("%s: %s refers to another server, or makes elements of text", name, path)
			}
			for _, m := range reference.FindAllStringSubmatch(text, -1) {
				if m[1] != "" {
					todo = append(todo, m[1])
				} else {
					todo = append(todo, path[:strings.LastIndexByte(path, '/')+1]+m[2])
				}
			}
		}
		if len(seen) < 14 {
			t.Errorf("%s: only %d files are reachable: %v", name, len(seen), seen)
		}
		text := body(t, get(t, h, "GET", "/console/"))
		if regexp.MustCompile(`<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=`).MatchString(text) {
			t.Errorf("%s: the page has a script or a style in it", name)
		}
		csp := get(t, h, "GET", "/console/").Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", name, csp, want)
			}
		}
		if r := get(t, h, "GET", "/console"); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "console/" {
			t.Errorf("%s: /console answers %d to %q", name, r.StatusCode, r.Header.Get("Location"))
		}
	}
	if r := get(t, web.Console("v1"), "GET", "/"); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "console/" {
		t.Errorf("/ answers %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if r := get(t, web.Handler(web.Options{AppID: "i", AppKey: "k"}), "GET", "/console/"); r.StatusCode != http.StatusNotFound {
		t.Errorf("without a console its page answers %d", r.StatusCode)
	}
}

func TestPolicyAllowsNothingFromElsewhere(t *testing.T) {
	h := web.Handler(web.Options{AppID: "i", AppKey: "k"})
	csp := get(t, h, "GET", "/").Header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' ws://127.0.0.1:6001 wss://127.0.0.1:6001",
		"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
	} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q allows something unsafe", csp)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "evil; script-src *"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Result().Header.Get("Content-Security-Policy"); strings.Contains(got, "evil") {
		t.Errorf("a host wrote into the policy: %q", got)
	}
}

func TestCaching(t *testing.T) {
	h := web.Handler(web.Options{AppID: "i", AppKey: "k"})
	r := get(t, h, "GET", "/")
	tag := r.Header.Get("ETag")
	if tag == "" || r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("page headers: %v", r.Header)
	}
	if again := get(t, h, "GET", "/", "If-None-Match", tag); again.StatusCode != http.StatusNotModified || body(t, again) != "" {
		t.Errorf("asking again with the tag: status %d", again.StatusCode)
	}
	other := get(t, web.Handler(web.Options{AppID: "other", AppKey: "k"}), "GET", "/").Header.Get("ETag")
	if other == tag {
		t.Error("pages of two apps have the same tag")
	}
	style := regexp.MustCompile(`assets/[0-9a-f]{16}/style\.css`).FindString(body(t, get(t, h, "GET", "/")))
	if style == "" {
		t.Fatal("the page names no style sheet with a hash")
	}
	if got := get(t, h, "GET", "/"+style).Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("Cache-Control of a file: %q", got)
	}
}

func TestRefusedRequests(t *testing.T) {
	h := web.Handler(web.Options{AppID: "i", AppKey: "k"})
	for _, c := range []struct {
		name, method, path string
		want               int
	}{
		{"a file of another build", "GET", "/assets/0000000000000000/style.css", 404},
		{"a file without a build", "GET", "/assets/style.css", 404},
		{"the template below assets", "GET", "/assets/index.html", 404},
		{"a path upwards", "GET", "/assets/../web.go", 404},
		{"another path", "GET", "/index.html", 404},
		{"another method", "POST", "/", 405},
	} {
		r := get(t, h, c.method, c.path)
		if r.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", c.name, r.StatusCode, c.want)
		}
		if r.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: no policy", c.name)
		}
	}
	if r := get(t, h, "HEAD", "/"); r.StatusCode != 200 || body(t, r) != "" || r.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD /: status %d, headers %v", r.StatusCode, r.Header)
	}
}
