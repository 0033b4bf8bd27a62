package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

//go:embed assets
var embedded embed.FS

// Options configure the page. All fields are sent to the browser, so none may be secret.
type Options struct {
	// AppID and AppKey name the app. Required. The page uses `app/{AppKey}` and `apps/{AppID}` relative to its
	// own address.
	AppID, AppKey string
	// Channels are subscribed when the page opens. The default is `host-metrics`, where `sluice demo` publishes,
	// and Example.
	Channels []string
	// Example is the channel of the suggested commands, default `lobby`.
	Example string
	// Subject is the NATS subject for publishing to Example, for the suggested `nats pub`. If it is empty, that
	// command is omitted.
	Subject string
	// NATSURL is included in the suggested `nats pub` if it is a URL other than the default of that tool.
	NATSURL string
	// Version is shown beside the name; empty for none.
	Version string
	// Console says that the console for operators is at `console/` relative to the page.
	Console bool
}

// defaultNATS is the default server of the `nats` tool.
const defaultNATS = "nats://127.0.0.1:4222"

// config is the configuration in the page's data block.
type config struct {
	AppID    string   `json:"appId"`
	AppKey   string   `json:"appKey"`
	Channels []string `json:"channels"`
	Example  string   `json:"example"`
	Subject  string   `json:"subject"`
	NATSURL  string   `json:"natsURL"`
	Version  string   `json:"version"`
	Console  bool     `json:"console"`
}

type asset struct {
	body []byte
	kind string
}

// site is a set of pages with their shared files.
type site struct {
	pages map[string]document // by path
	// aliases are paths that redirect to pages.
	aliases map[string]string
	prefix  string // path of the assets of this build, "/assets/HASH/"
	assets  map[string]asset
}

type document struct {
	body []byte
	tag  string
	// sockets is set if the page opens WebSockets.
	sockets bool
}

// Handler serves the page at `/`, the console at `/console/` if there is one, and their files below `/assets/`.
// The paths of the files contain a hash of all files, so browsers may cache them forever and never mix two
// builds; the pages themselves are always revalidated. All addresses are relative, so the pages work below a
// path prefix that ends with a slash. Other paths are answered with 404, and methods other than GET and HEAD
// with 405. The handler is safe for concurrent use.
func Handler(opt Options) http.Handler {
	if opt.Example == "" {
		opt.Example = "lobby"
	}
	if opt.Channels == nil {
		opt.Channels = []string{"host-metrics", opt.Example}
	}
	if opt.NATSURL == defaultNATS || !strings.Contains(opt.NATSURL, "://") {
		opt.NATSURL = ""
	}
	p := newSite()
	p.add("/", "index.html", p.prefix[1:], config(opt), true)
	if opt.Console {
		p.addConsole(opt.Version)
	}
	return p
}

// Console serves the page of the console at `/console/`, with a redirect from `/`, and its files below
// `/assets/`, like Handler.
func Console(version string) http.Handler {
	p := newSite()
	p.addConsole(version)
	p.aliases["/"] = "console/"
	return p
}

// addConsole adds the page of the console, which gets all its data from the API.
func (p *site) addConsole(version string) {
	p.add("/console/", "console.html", ".."+p.prefix, config{Version: version}, false)
	p.aliases["/console"] = "console/"
}

func newSite() *site {
	p := &site{pages: map[string]document{}, aliases: map[string]string{}, assets: map[string]asset{}}
	sum := sha256.New()
	entries, err := fs.ReadDir(embedded, "assets")
	if err != nil {
		panic(err) // the directory is part of the binary
	}
	for _, e := range entries {
		body, err := embedded.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(sum, "%s %d\n", e.Name(), len(body))
		sum.Write(body)
		if !strings.HasSuffix(e.Name(), ".html") {
			p.assets[e.Name()] = asset{body: body, kind: kindOf(e.Name())}
		}
	}
	p.prefix = "/assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	return p
}

// add adds a page whose files are at assets.
func (p *site) add(path, file, assets string, c config, sockets bool) {
	body := render(file, strings.TrimSuffix(assets, "/"), c)
	tag := sha256.Sum256(body)
	p.pages[path] = document{body, strconv.Quote(hex.EncodeToString(tag[:8])), sockets}
}

// render fills in the page. The configuration is put into a data block as JSON. encoding/json escapes <, > and
// &, so that no value can end the block; html/template would escape them otherwise.
func render(file, assets string, c config) []byte {
	text, err := embedded.ReadFile("assets/" + file)
	if err != nil {
		panic(err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	var out bytes.Buffer
	err = template.Must(template.New(file).Parse(string(text))).Execute(&out, map[string]any{
		"Assets": assets,
		"Config": template.JS(data),
	})
	if err != nil {
		panic(err) // the template is part of the binary
	}
	return out.Bytes()
}

// kindOf returns a content type. It does not use package mime, whose results depend on files of the machine.
func kindOf(name string) string {
	switch name[strings.LastIndexByte(name, '.'):] {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

func (p *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	doc, isPage := p.pages[r.URL.Path]
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", policy(r.Host, !isPage || doc.sockets))
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if to, ok := p.aliases[r.URL.Path]; ok {
		h.Set("Location", to) // relative, like all addresses of the pages
		w.WriteHeader(http.StatusFound)
		return
	}
	if isPage {
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", doc.tag)
		if r.Header.Get("If-None-Match") == doc.tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		send(w, r, asset{body: doc.body, kind: "text/html; charset=utf-8"})
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, p.prefix)
	a, found := p.assets[name]
	if !ok || !found {
		h.Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	send(w, r, a)
}

func send(w http.ResponseWriter, r *http.Request, a asset) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if r.Method == http.MethodHead {
		return
	}
	// An error means that the client has gone.
	_, _ = w.Write(a.body)
}

// plainHost matches hosts that can be part of a policy. Bracketed addresses are not valid there.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// policy allows the page to load its own files and to connect to its own server, and nothing else. In current
// browsers, 'self' includes WebSockets; older browsers need them listed.
func policy(host string, sockets bool) string {
	connect := "'self'"
	if sockets && plainHost.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
}
