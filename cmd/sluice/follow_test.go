package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// TestTime03HistoryFollows: the command prints the present and the new events, each once and in order, as
// they come, and reports no gap.
func TestTime03HistoryFollows(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		r.store("c", numbered(300)...)
		all := start(t, strings.NewReader(""), "history", "c", "--follow", "--oldest", "--json", "--url", r.url)
		newest := start(t, strings.NewReader(""), "history", "c", "--follow", "-n", "7", "--json", "--url", r.url)
		table := start(t, strings.NewReader(""), "history", "c", "-F", "--url", r.url)
		table.out.await(t, `{"n":299}`)
		newest.out.await(t, `{\"n\":299}`)
		for range 20 {
			r.store("c", numbered(10)...)
		}
		r.store("c", &broker.Event{Name: "last", Data: []byte("last"), Origin: broker.OriginHTTP})
		want := r.history("c")
		for _, c := range []struct {
			run  *command
			from int
		}{{all, 0}, {newest, 293}} {
			c.run.out.await(t, `"data":"last"`)
			c.run.interrupt()
			if status := c.run.wait(); status != exitOK || c.run.errors.String() != "" {
				t.Errorf("status %d: %s", status, c.run.errors)
			}
			if diff := cmp.Diff(want[c.from:], items(t, c.run.out.String())); diff != "" {
				t.Errorf("from %d (-history +followed):\n%.1500s", c.from, diff)
			}
		}
		table.out.await(t, "  last\n")
		table.interrupt()
		table.wait()
		if lines := strings.Count(table.out.String(), "\n"); lines != 20+201+1 || !strings.Contains(table.errors.String(), "221 events") {
			t.Errorf("%d lines, said %s", lines, table.errors)
		}
	})
}

// TestTime03FollowingAChannelThatIsEmpty: following begins with the first event of the channel.
func TestTime03FollowingAChannelThatIsEmpty(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		c := start(t, strings.NewReader(""), "history", "c", "--follow", "--oldest", "--json", "--url", r.url)
		r.store("c", numbered(50)...)
		c.out.await(t, `{\"n\":49}`)
		c.interrupt()
		c.wait()
		if diff := cmp.Diff(r.history("c"), items(t, c.out.String())); diff != "" {
			t.Errorf("(-history +followed):\n%.1500s", diff)
		}
	})
}

// turnstile is a proxy that can be shut.
type turnstile struct {
	*httptest.Server
	shut atomic.Bool
	// before and after, unless nil, decide whether a request passes, and whether its response does.
	before, after func() bool
}

func newTurnstile(t *testing.T, to string) *turnstile {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	g := &turnstile{}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.shut.Load() || g.before != nil && !g.before() {
			panic(http.ErrAbortHandler)
		}
		if g.after != nil && !g.after() {
			through.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		through.ServeHTTP(w, r)
	}))
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.Start()
	t.Cleanup(g.Close)
	return g
}

// TestTime03AFollowerIsToldWhatIsMissing: while the server cannot be reached, more is published than the log
// retains. The follower prints what is left and says what may be missing, and where.
func TestTime03AFollowerIsToldWhatIsMissing(t *testing.T) {
	t.Parallel()
	onEachLog(t, func(t *testing.T, r *rig) {
		g := newTurnstile(t, r.url)
		r.store("c", numbered(5)...)
		plain := start(t, strings.NewReader(""), "history", "c", "--follow", "--url", g.URL)
		lines := start(t, strings.NewReader(""), "history", "c", "--follow", "--json", "--url", g.URL)
		plain.out.await(t, `{"n":4}`)
		lines.out.await(t, `{\"n\":4}`)

		// Requests made before it was shut may still be answered.
		shut := func() {
			t.Helper()
			const away = "trying again"
			before := []int{strings.Count(plain.errors.String(), away), strings.Count(lines.errors.String(), away)}
			g.shut.Store(true)
			plain.errors.awaitTimes(t, away, before[0]+1)
			lines.errors.awaitTimes(t, away, before[1]+1)
		}

		// Nothing is removed, so nothing is missing.
		shut()
		r.store("c", numbered(6)...)
		g.shut.Store(false)
		plain.out.await(t, `{"n":5}`)
		lines.out.await(t, `{\"n\":5}`)
		if said := plain.errors.String() + lines.out.String(); strings.Contains(said, "missing") || strings.Contains(said, "gap") {
			t.Errorf("said %s", said)
		}
		last := r.history("c")[10].Serial

		// The log keeps a thousand.
		shut()
		r.store("c", numbered(1500)...)
		g.shut.Store(false)
		plain.out.await(t, `{"n":1499}`)
		lines.out.await(t, `{\"n\":1499}`)
		oldest := r.history("c")[0].Serial
		if want := fmt.Sprintf("events between the serials %d and %d may be missing", last, oldest); strings.Count(plain.errors.String(), want) != 1 {
			t.Errorf("said %s, want %q", plain.errors, want)
		}
		if want := fmt.Sprintf(`{"gap":{"after_serial":%d,"next_serial":%d}}`, last, oldest); strings.Count(lines.out.String(), want+"\n") != 1 {
			t.Errorf("%q is not in what was printed", want)
		}
		plain.interrupt()
		lines.interrupt()
		if plain.wait() != exitOK || lines.wait() != exitOK {
			t.Error("they did not end well")
		}
	})
}

// TestTime03AFollowerOfALogThatBeganAnew: the follower says that the log began anew, and prints the new one
// from its beginning.
func TestTime03AFollowerOfALogThatBeganAnew(t *testing.T) {
	first, second := newRig(t), newRig(t)
	to := atomic.Pointer[rig]{}
	to.Store(first)
	switching := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		u, _ := url.Parse(to.Load().url)
		r.SetURL(u)
	}})
	defer switching.Close()
	first.store("c", numbered(20)...)
	second.store("c", numbered(3)...)
	c := start(t, strings.NewReader(""), "history", "c", "--follow", "--url", switching.URL)
	c.out.await(t, `{"n":19}`)
	to.Store(second)
	c.errors.await(t, "began anew")
	c.out.awaitTimes(t, `{"n":2}`, 2)
	second.store("c", &broker.Event{Name: "last", Data: []byte("the end")})
	c.out.await(t, "the end")
	c.interrupt()
	c.wait()
	if lines := strings.Count(c.out.String(), "\n"); lines != 1+20+3+1 {
		t.Errorf("%d lines:\n%s", lines, c.out)
	}
}

func TestTime03FollowingThatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{{"--newest"}, {"--to", "7"}} {
		status, _, said := execute(t, "", append([]string{"history", "c", "--follow"}, args...)...)
		if status != exitUsage || !strings.Contains(said, "excludes --newest and --to") {
			t.Errorf("%v: status %d, %s", args, status, said)
		}
	}
}

// TestTime03HistoryWaitsForItsShare: requests of an app are rate-limited, and a history of many pages then
// takes longer.
func TestTime03HistoryWaitsForItsShare(t *testing.T) {
	r := newRig(t)
	r.store("c", numbered(250)...)
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if asked.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":"the app is over its limit","code":"rate_limited","status":429}`)
			return
		}
		forward(w, q, r.url)
	}))
	defer proxy.Close()
	status, out, said := execute(t, "", "history", "c", "--limit", "0", "--json", "--url", proxy.URL)
	if n := strings.Count(out, "\n"); status != exitOK || n != 250 {
		t.Errorf("status %d, %d events: %s", status, n, said)
	}
	c := start(t, nil, "history", "c", "--follow", "--limit", "3", "--json", "--url", proxy.URL)
	c.out.awaitTimes(t, "\n", 3)
	c.interrupt()
	if status := c.wait(); status != exitOK || strings.Count(c.out.String(), "\n") != 3 {
		t.Errorf("status %d: %s%s", status, c.out, c.errors)
	}
}
