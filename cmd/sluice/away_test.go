package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestTime08AMomentWithoutTheLogEndsNoCopy: each request of a command is answered with 503 the first time, or
// gets no answer, except for the very first one. The command goes on all the same, and says what it waits
// for.
func TestTime08AMomentWithoutTheLogEndsNoCopy(t *testing.T) {
	r := newRig(t)
	for _, c := range []string{"room-a", "room-b"} {
		r.store(c, numbered(15)...)
	}
	file := writeFile(t, "rooms.ndjson", r.succeed("", "export", "--prefix", "room-"))
	for _, refused := range []bool{true, false} {
		for _, args := range [][]string{
			{"export", "room-a"}, {"export", "--prefix", "room-"}, {"import", file}, {"import", file, "--again"},
			{"replay", "room-a", "--json", "--speed", "max"}, {"replay", "room-a", "--speed", "max", "--to-channel", "copy"},
		} {
			name := map[bool]string{true: "503", false: "no answer"}[refused]
			t.Run(name+" "+strings.Join(args[:2], " "), func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				met, first := map[string]bool{}, true
				proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					values := q.URL.Query()
					for name := range values {
						if strings.HasPrefix(name, "auth_") {
							values.Del(name)
						}
					}
					key := q.Method + q.URL.Path + "?" + values.Encode()
					mu.Lock()
					fails := !met[key] && (refused || !first)
					met[key], first = true, false
					mu.Unlock()
					switch {
					case !fails:
						forward(w, q, r.url)
					case refused:
						w.WriteHeader(http.StatusServiceUnavailable)
						_, _ = w.Write([]byte(`{"error":"the backend cannot be reached","code":"unavailable","status":503}`))
					default:
						panic(http.ErrAbortHandler)
					}
				}))
				proxy.Config.SetKeepAlivesEnabled(false) // otherwise the HTTP client retries by itself
				proxy.Start()
				defer proxy.Close()
				status, out, said := execute(t, "", append(args, "--url", proxy.URL)...)
				if status != exitOK || !strings.Contains(said, "next try in") {
					t.Fatalf("status %d after %d kinds of requests: %s", status, len(met), said)
				}
				if want := r.succeed("", args...); args[0] == "export" && out != want {
					t.Errorf("%d lines, want %d", strings.Count(out, "\n"), strings.Count(want, "\n"))
				}
			})
		}
	}
}

// TestTime08AnExportThatWasKilledGoesOn: a file that ends anywhere within a line is refused with the number
// of that line, and the command in the message completes the file.
func TestTime08AnExportThatWasKilledGoesOn(t *testing.T) {
	r := newRig(t)
	events := numbered(6)
	for _, e := range events {
		e.Data = []byte(`"größer als ß"`)
	}
	r.store("room-a", events...)
	r.store("room-b", numbered(3)...)
	for _, args := range [][]string{{"export", "room-a"}, {"export", "--prefix", "room-"}} {
		whole := r.succeed("", args...)
		lines := strings.SplitAfter(whole, "\n")
		kept := strings.Join(lines[:4], "")
		middle := strings.Index(lines[4], "größer") + len("gr") + 1 // within the ö
		for _, n := range []int{1, 20, middle, len(lines[4]) - 2} {
			file := writeFile(t, "torn.ndjson", kept+lines[4][:n])
			status, _, said := execute(t, "", "import", file, "--check")
			if status != exitFailure || !strings.Contains(said, "line 5: it is cut off") {
				t.Fatalf("%d bytes: status %d: %s", n, status, said)
			}
			var again []string
			if _, after, ok := strings.Cut(said, "go on with:\n  sluice "); ok {
				line, _, _ := strings.Cut(after, " >> FILE")
				again = strings.Fields(line)
			}
			if len(args) == 3 {
				_, after, _ := strings.Cut(said, "with the same --prefix and ")
				again = append(args[:3:3], strings.Fields(after)...)
			}
			if rest := r.succeed("", again...); kept+rest != whole {
				t.Errorf("%d bytes, then %v: %q", n, again, kept+rest)
			}
		}
	}
	alone := writeFile(t, "alone.ndjson", "{")
	if status, _, said := execute(t, "", "import", alone); status != exitFailure || !strings.Contains(said, "line 1: it is cut off") || strings.Contains(said, "go on with") {
		t.Errorf("status %d: %s", status, said)
	}
}

// TestPublishedLinesWaitForTheServer: lines that the server refuses for the moment, in any way, are published
// a moment later, once and in order. A single event is left to the user to repeat.
func TestPublishedLinesWaitForTheServer(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		for name, refuse := range map[string]func(w http.ResponseWriter, q *http.Request){
			"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
			"503": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
			},
			"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"stored without an answer": func(_ http.ResponseWriter, q *http.Request) {
				forward(httptest.NewRecorder(), q, r.url)
				panic(http.ErrAbortHandler)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var n atomic.Int64
				proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if n.Add(1) == 2 {
						refuse(w, q)
						return
					}
					forward(w, q, r.url)
				}))
				proxy.Config.SetKeepAlivesEnabled(false) // otherwise the HTTP client retries by itself
				proxy.Start()
				defer proxy.Close()
				channel := strings.ReplaceAll("c "+name, " ", "-")
				status, out, said := execute(t, "a\nb\nb\n\nc\n", "publish", channel, "--lines", "--url", proxy.URL)
				if got := strings.Join(r.texts(channel), " "); status != exitOK || got != "a b b c" {
					t.Errorf("status %d, stored %q: %s", status, got, said)
				}
				if told := strings.Contains(said, "next try in"); told == (name == "429") {
					t.Errorf("said %q", said)
				}
				if strings.Contains(out, "before") {
					t.Errorf("said %q", out)
				}
				n.Store(1)
				if status, _, _ := execute(t, "", "publish", channel, "alone", "--url", proxy.URL); status != exitFailure {
					t.Errorf("one event: status %d", status)
				}
			})
		}
	})
}
