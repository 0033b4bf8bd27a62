package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// sdk is a client library in its own process.
type sdk struct {
	t     *testing.T
	in    io.Writer
	lines chan sdkLine
}

type sdkLine struct {
	Ready   bool
	Event   string
	Channel string
	Data    json.RawMessage
	Stats   *struct {
		Deltas, Resyncs int
		Errors          []string
	}
}

func startSDK(t *testing.T, name string, args ...string) *sdk {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(root(), "test", "interop")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (scripts/test installs what is needed)", name, err)
	}
	s := &sdk{t: t, in: in, lines: make(chan sdkLine, 30_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			var line sdkLine
			if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
				t.Errorf("the client said %s", scan.Text())
				return
			}
			s.lines <- line
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return s
}

func (s *sdk) next() sdkLine {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatal("the client has ended")
		}
		return line
	case <-time.After(patience):
		s.t.Fatal("the client said nothing")
	}
	panic("unreachable")
}

// ready waits until the client is subscribed.
func (s *sdk) ready() {
	s.t.Helper()
	if line := s.next(); !line.Ready {
		s.t.Fatalf("got %+v, want that the client is ready", line)
	}
}

func (s *sdk) say(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// mixed returns the nth of a mix of events: two channels, two names, keys that need escaping, no keys, other
// alphabets, small events, scalars and texts.
func mixed(n int) client.Publish {
	p := client.Publish{Name: []string{"tick", "tock"}[n%3/2], Channel: []string{"keyed", "single"}[n/7%2]}
	pad := fmt.Sprint(n%5) + strings.Repeat(" steady é漢", 16)
	key := []string{"BTC", "ETH", `a"b`}[n%3]
	switch n % 50 {
	case 11:
		p.Data = fmt.Sprintf(`{"n":%d}`, n)
	case 22:
		p.Data = fmt.Sprintf("text %d %s", n, pad)
	case 33:
		p.Data = fmt.Sprint(1000 + n)
	case 44:
		p.Data = fmt.Sprintf(`{"n":%d,"pad":%q}`, n, pad)
	default:
		p.Data = fmt.Sprintf(`{"symbol":%q,"n":%d,"price":%d.%02d,"pad":%q,"at":[%d,null,true]}`, key, n, n*7%1000, n%100, pad, n)
	}
	return p
}

const sdkConfig = `
apps:
  - id: app-id
    key: app-key
    secret: app-secret
    max_event_batch_size: 100
    channel_delta_compression: {keyed: {conflation_key: symbol}}
`

func TestClientLibrariesDecodeDeltas(t *testing.T) {
	t.Parallel()
	python := filepath.Join(root(), ".cache", "python", "bin", "python")
	for _, c := range []struct {
		name    string
		command func(host, port, protocol string) []string
	}{
		{"DS-43 the JavaScript client's way, fossil, V1", func(host, port, _ string) []string {
			return []string{"node", "sdk.mjs", host, port, "app-key", "7", "fossil"}
		}},
		{"DS-43 the JavaScript client's way, xdelta3, V2", func(host, port, _ string) []string {
			return []string{"node", "sdk.mjs", host, port, "app-key", "2", "xdelta3"}
		}},
		{"DS-44 the Python client, V1", func(host, port, _ string) []string {
			return []string{python, "sdk.py", host, port, "app-key", "7"}
		}},
		{"DS-44 the Python client, V2", func(host, port, _ string) []string {
			return []string{python, "sdk.py", host, port, "app-key", "2"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := serve(t, dir, config(dir, sdkConfig))
			host, port, _ := strings.Cut(s.HTTP, ":")
			args := append(c.command(host, port, ""), "keyed", "single")
			lib := startSDK(t, args[0], args[1:]...)
			signed, err := client.NewSigned(client.SignedOptions{
				URL: "http://" + s.HTTP, AppID: "app-id", Key: "app-key", Secret: app.Secret("app-secret"),
			})
			if err != nil {
				t.Fatal(err)
			}
			lib.ready()
			const events, batch = 10_000, 100
			for n := 0; n < events; n += batch {
				if n == events/3/batch*batch || n == 2*events/3/batch*batch {
					lib.say("cut")
					lib.ready()
				}
				var all []client.Publish
				for i := n; i < n+batch; i++ {
					all = append(all, mixed(i))
				}
				if err := signed.PublishBatch(t.Context(), all...); err != nil {
					t.Fatal(err)
				}
				// Order is guaranteed within a channel only.
				due := map[string][]client.Publish{}
				for _, p := range all {
					due[p.Channel] = append(due[p.Channel], p)
				}
				for range all {
					got := lib.next()
					if len(due[got.Channel]) == 0 {
						t.Fatalf("%+v was not due", got)
					}
					lib.compare(got, due[got.Channel][0])
					due[got.Channel] = due[got.Channel][1:]
				}
			}
			lib.say("end")
			stats := lib.next().Stats
			if stats == nil || len(stats.Errors) > 0 || stats.Resyncs > 0 {
				t.Fatalf("the client reports %+v", stats)
			}
			if stats.Deltas < events*7/10 {
				t.Errorf("only %d of %d events came as deltas", stats.Deltas, events)
			}
		})
	}
}

// compare checks that a received event equals the published one.
func (s *sdk) compare(got sdkLine, want client.Publish) {
	s.t.Helper()
	if got.Event != want.Name {
		s.t.Fatalf("%s on %s has the name %s, want %s", got.Data, got.Channel, got.Event, want.Name)
	}
	// Libraries return objects for structured data. For frames without deltas they return the string or its
	// parsed value.
	var text string
	if json.Unmarshal(got.Data, &text) == nil && text == want.Data {
		return
	}
	if equalJSON(got.Data, []byte(want.Data)) || equalJSON([]byte(text), []byte(want.Data)) {
		return
	}
	s.t.Fatalf("got %s on %s, want %s", got.Data, got.Channel, want.Data)
}

func equalJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}
