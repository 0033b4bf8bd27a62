package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/streams"
)

const (
	appID, appKey, appSecret = "app-id", "app-key", "app-secret"
)

// publishSigned publishes one event to a channel by a signed HTTP request.
func publishSigned(client *http.Client, address, channel, name, data string) error {
	return publishTo(client, address, []string{channel}, name, data)
}

// publishTo publishes one event to several channels.
func publishTo(client *http.Client, address string, channels []string, name, data string) error {
	body, err := json.Marshal(map[string]any{"name": name, "channels": channels, "data": data})
	if err != nil {
		return err
	}
	sum := md5.Sum(body)
	path := "/apps/" + appID + "/events"
	params := url.Values{
		"auth_key": {appKey}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
		"auth_version": {"1.0"}, "body_md5": {hex.EncodeToString(sum[:])},
	}
	params.Set("auth_signature", pusher.SignRequest(appSecret, http.MethodPost, path, params))
	resp, err := client.Post("http://"+address+path+"?"+params.Encode(), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(answer)) != "{}" {
		return fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return nil
}

type received struct {
	Subscribed string          `json:"subscribed"`
	State      string          `json:"state"`
	Event      string          `json:"event"`
	Data       json.RawMessage `json:"data"`
	Refused    json.RawMessage `json:"refused"`
	Error      json.RawMessage `json:"error"`
	Summary    *summary        `json:"summary"`
	Problems   []string        `json:"problems"`
}

type summary struct {
	Events, Full, Delta, Plain, Wire, Original int
}

func (n *node) subscribed() {
	n.t.Helper()
	for {
		var l received
		n.line(&l)
		if l.Refused != nil {
			n.t.Fatalf("refused: %s", l.Refused)
		}
		if l.Subscribed != "" {
			return
		}
	}
}

// TestEveryDoorReachesEveryClient publishes three thousand events by three ways, with real clients on both
// sides. Each event carries its source and number, and the order per source must be kept.
func TestEveryDoorReachesEveryClient(t *testing.T) {
	t.Parallel()
	if tools.nats == "" {
		t.Fatal("the nats CLI is missing; scripts/test installs it")
	}
	s := serve(t, t.TempDir(), config(t.TempDir()))
	host, port, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	const channel, each, byCLI = "first-light", 1000, 20
	receiver := script(t, "receive.mjs", host, port, appKey, channel)
	deltas := script(t, "delta.mjs", host, port, appKey, channel, strconv.Itoa(3*each))
	receiver.subscribed()
	deltas.subscribed()

	body := func(source string, n int) string {
		return fmt.Sprintf(`{"source":%q,"n":%d,"reading":{"celsius":%d.5,"label":"Zürich"},"pad":%q}`, source, n, n%30, strings.Repeat("x", 300))
	}
	var publishing sync.WaitGroup
	publishing.Go(func() {
		sdk := script(t, "publish.mjs", host, port, appID, appKey, appSecret, channel, strconv.Itoa(each), "0")
		sdk.run()
	})
	client := &http.Client{Timeout: patience}
	const routines = 4
	for g := range routines {
		publishing.Go(func() {
			for n := range each / routines {
				if err := publishSigned(client, s.HTTP, channel, "reading", body(fmt.Sprint("http", g), n)); err != nil {
					t.Errorf("publishing over HTTP: %v", err)
					return
				}
			}
		})
	}
	publishing.Go(func() {
		subject := streams.SubjectOf(appID, channel)
		nc, err := nats.Connect("nats://"+s.NATS, nats.Timeout(patience))
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		for n := range each - byCLI {
			m := nats.NewMsg(subject)
			m.Header.Set("Event", "reading")
			m.Data = []byte(body("raw", n))
			if err := nc.PublishMsg(m); err != nil {
				t.Error(err)
				return
			}
		}
		if err := nc.Flush(); err != nil {
			t.Error(err)
			return
		}
		for n := range byCLI {
			out, err := exec.Command(tools.nats, "--timeout", "2m", "--server", "nats://"+s.NATS, "pub", subject,
				body("cli", n), "-H", "Event:reading", "--no-templates").CombinedOutput()
			if err != nil {
				t.Errorf("nats pub: %v\n%s", err, out)
				return
			}
		}
	})
	publishing.Wait()
	client.CloseIdleConnections()

	next := map[string]int{}
	for total := 0; total < 3*each; {
		var l received
		receiver.line(&l)
		if l.Event == "" {
			t.Fatalf("instead of event %d: %+v", total, l)
		}
		var data struct {
			Source string
			N      int
		}
		if err := json.Unmarshal(l.Data, &data); err != nil {
			t.Fatalf("data %s: %v", l.Data, err)
		}
		if l.Event != "reading" || data.N != next[data.Source] {
			t.Fatalf("pusher-js got %s %d of %s, want %d", l.Event, data.N, data.Source, next[data.Source])
		}
		next[data.Source]++
		total++
	}
	want := map[string]int{"sdk": each, "raw": each - byCLI, "cli": byCLI}
	for source, n := range want {
		if next[source] != n {
			t.Errorf("got %d events of %s, want %d", next[source], source, n)
		}
	}
	var l received
	deltas.line(&l)
	if l.Summary == nil || len(l.Problems) > 0 || l.Summary.Events != 3*each {
		t.Fatalf("deltas: %+v, problems %v", l.Summary, l.Problems)
	}
	t.Logf("deltas decoded by fossil-delta: %+v, %.1f %% of bytes saved", *l.Summary, saved(l.Summary))
	if l.Summary.Delta < 2*each {
		t.Errorf("only %d of %d events came as deltas", l.Summary.Delta, 3*each)
	}
}

func saved(s *summary) float64 { return 100 * (1 - float64(s.Wire)/float64(s.Original)) }

// TestTelemetryGoesOutAsDeltas publishes what the demo does: live telemetry of this machine in messages of
// 600 to 1,500 bytes, keyed by device. The busier the machine, the more digits change from one message to the
// next; the names between them, over a third of each message, never do.
func TestTelemetryGoesOutAsDeltas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	host, port, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	const channel, events = "host-metrics", 300
	deltas := script(t, "delta.mjs", host, port, appKey, channel, strconv.Itoa(events))
	deltas.subscribed()
	demo := exec.Command(tools.sluice, "demo", "--url", "http://"+s.HTTP, "--interval", "100ms")
	demo.Dir = dir
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = demo.Process.Kill()
		_ = demo.Wait()
	}()
	var l received
	deltas.line(&l)
	if l.Summary == nil || len(l.Problems) > 0 {
		t.Fatalf("deltas: %+v, problems %v", l.Summary, l.Problems)
	}
	t.Logf("host telemetry: %+v, %d bytes a message, %.1f %% of bytes saved, %.1f %% sent as deltas", *l.Summary,
		l.Summary.Original/l.Summary.Events, saved(l.Summary), 100*float64(l.Summary.Delta)/float64(l.Summary.Events))
	if l.Summary.Delta < 8*events/10 {
		t.Errorf("%d of %d events came as deltas, want at least eight in ten", l.Summary.Delta, events)
	}
	if saved(l.Summary) < 25 {
		t.Errorf("saved %.1f %%, want at least 25 %%, however busy the machine is", saved(l.Summary))
	}
}

// TestKilledServerKeepsWhatItAcknowledged (EV-12): acknowledged means stored. A server that is killed in a
// burst has every acknowledged event in its history, once and in order, after a restart.
func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	const writers = 4
	var mu sync.Mutex
	acknowledged := map[string]int{}
	enough := make(chan struct{})
	var once sync.Once
	var publishing sync.WaitGroup
	for g := range writers {
		publishing.Go(func() {
			name := fmt.Sprint("w", g)
			for n := 0; ; n++ {
				if publishSigned(client, s.HTTP, "ledger", name, strconv.Itoa(n)) != nil {
					return
				}
				mu.Lock()
				acknowledged[name] = n + 1
				if acknowledged[name] >= 100 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	s.kill()
	publishing.Wait()

	s = serve(t, dir, config(dir))
	got := map[string]int{}
	last := uint64(0)
	for cursor := ""; ; {
		page := history(t, s, "ledger", "oldest_first", cursor)
		for _, item := range page.Items {
			if item.Serial <= last {
				t.Fatalf("serial %d follows %d", item.Serial, last)
			}
			last = item.Serial
			n, err := strconv.Atoi(item.Message.Data)
			if err != nil || n != got[item.EventName] {
				t.Fatalf("got %q of %s, want %d", item.Message.Data, item.EventName, got[item.EventName])
			}
			got[item.EventName]++
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	total := 0
	for name, n := range acknowledged {
		total += n
		// One more event may be stored: one whose acknowledgement was lost.
		if got[name] < n || got[name] > n+1 {
			t.Errorf("%s: %d events acknowledged, %d in the history", name, n, got[name])
		}
	}
	t.Logf("%d events were acknowledged before the kill, all are there", total)
}

type historyPage struct {
	Items []struct {
		Serial    uint64 `json:"serial"`
		StreamID  string `json:"stream_id"`
		EventName string `json:"event_name"`
		Message   struct {
			Data string `json:"data"`
		} `json:"message"`
	} `json:"items"`
	NextCursor string `json:"next_cursor"`
}

func history(t *testing.T, s *server, channel, direction, cursor string) historyPage {
	t.Helper()
	q := url.Values{"direction": {direction}, "limit": {"100"}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	resp, err := http.Get("http://" + s.HTTP + "/apps/" + appID + "/channels/" + channel + "/history?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var page historyPage
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &page) != nil {
		t.Fatalf("history: %s %s", resp.Status, body)
	}
	return page
}

// TestSecondServerOnTheSameStoreIsRefused: a second server on the same data would acknowledge the same
// offsets twice.
func TestSecondServerOnTheSameStoreIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, config(dir))
	second := launch(t, t.TempDir(), config(dir))
	<-second.done
	if second.err == nil || !strings.Contains(second.logs.String(), "store") {
		t.Errorf("the second server ended with %v:\n%s", second.err, second.logs)
	}
}
