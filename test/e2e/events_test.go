package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// dispatched is an event as a browser's EventSource dispatches it.
type dispatched struct {
	Type, ID, Text string
	Closed         bool
	Data           struct {
		Channel, Data string
		Recovered     []struct{ Replayed int }
	}
}

// TestTime04BrowserComesBackAfterARestart has a stock EventSource in Chromium read two channels of a server
// that is killed and restarted. It gets every event once, also those published while it was disconnected, and
// is never told of a gap.
func TestTime04BrowserComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	board := newSwitchboard(t, s.HTTP)
	page := "http://" + board.Addr().String()
	browser := script(t, "events.mjs", page+"/", "/app/app-key/events?channel=orders&channel=news", "note")
	publish := func(channel, data string) {
		t.Helper()
		if err := publishSigned(http.DefaultClient, s.HTTP, channel, "note", data); err != nil {
			t.Fatal(err)
		}
	}
	until := func(kind string) dispatched {
		t.Helper()
		for {
			var e dispatched
			browser.line(&e)
			switch {
			case e.Type == kind:
				return e
			case e.Type == "gap", e.Closed:
				t.Fatalf("got %+v", e)
			}
		}
	}
	until("subscribed")
	until("subscribed")
	publish("orders", "1")
	if e := until("note"); e.Data.Channel != "orders" || e.Data.Data != "1" || e.ID == "" {
		t.Fatalf("got %+v", e)
	}
	s.kill()
	until("error") // the browser has noticed, and reconnects by itself
	s = serve(t, dir, config(dir))
	publish("orders", "2")
	publish("news", "3")
	publish("orders", "4")
	board.to.Store(&s.HTTP)
	got := map[string][]string{}
	for range 3 {
		e := until("note")
		got[e.Data.Channel] = append(got[e.Data.Channel], e.Data.Data)
	}
	if fmt.Sprint(got) != "map[news:[3] orders:[2 4]]" {
		t.Errorf("got %v", got)
	}
	publish("news", "5")
	if e := until("note"); e.Data.Data != "5" {
		t.Errorf("then %+v", e)
	}
	_ = browser.in.Close()
	browser.run()
}

// TestTime04Curl reads a private channel with curl, from a URL signed by `sluice token`.
func TestTime04Curl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	if err := publishSigned(http.DefaultClient, s.HTTP, "private-orders", "order", "first"); err != nil {
		t.Fatal(err)
	}
	token := exec.Command(tools.sluice, "token", "private-orders", "--url", "http://"+s.HTTP, "--for", "1m")
	token.Dir = dir
	address, err := token.Output()
	if err != nil {
		t.Fatal(err)
	}
	curl := exec.CommandContext(t.Context(), "curl", "-sN", strings.TrimSpace(string(address))+"&since=1")
	out, err := curl.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := curl.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for in := bufio.NewScanner(out); in.Scan(); {
		lines = append(lines, in.Text())
		if in.Text() == "event: rewind_complete" {
			break
		}
	}
	_ = curl.Process.Kill()
	_ = curl.Wait()
	var first struct{ Event, Channel, Data string }
	for i, l := range lines {
		if l == "event: order" && i+1 < len(lines) {
			_ = json.Unmarshal([]byte(strings.TrimPrefix(lines[i+1], "data: ")), &first)
		}
	}
	if first.Event != "order" || first.Channel != "private-orders" || first.Data != "first" {
		t.Errorf("curl shows\n%s", strings.Join(lines, "\n"))
	}
}

// TestTime15BrowserIsSomewhereWhereNothingIsForIt has a stock EventSource in Chromium request the history of
// channels that have none, and then read channels whose events its filter drops. Each time the server is
// killed. By then the browser has a last event id, so it gets the events it missed, and is not told of a gap
// when all missed events were filtered out.
func TestTime15BrowserIsSomewhereWhereNothingIsForIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := config(dir, "tag_filtering: {enabled: true}")
	s := serve(t, dir, yaml)
	board := newSwitchboard(t, s.HTTP)
	channels := []string{"orders", "news"}
	query := "/app/app-key/events?channel=orders&channel=news&since=1h&filter=" + url.QueryEscape(`{"events":["note"]}`)
	browser := script(t, "events.mjs", "http://"+board.Addr().String()+"/", query, "note", "rewind_complete")
	publish := func(channel, name, data string) {
		t.Helper()
		if err := publishSigned(http.DefaultClient, s.HTTP, channel, name, data); err != nil {
			t.Fatal(err)
		}
	}
	until := func(kind string) (e dispatched) {
		t.Helper()
		for e.Type != kind {
			e = dispatched{}
			if browser.line(&e); e.Type == "gap" || e.Closed {
				t.Fatalf("got %+v", e)
			}
		}
		return e
	}
	again := func(then ...string) {
		t.Helper()
		s.kill()
		until("error")
		s = serve(t, dir, yaml)
		for _, data := range then {
			publish("orders", "note", data)
		}
		board.to.Store(&s.HTTP)
		for _, want := range then {
			if e := until("note"); e.Data.Channel != "orders" || e.Data.Data != want {
				t.Fatalf("got %+v, want %s", e, want)
			}
		}
		until("resumed")
	}
	until("rewind_complete")
	at := func(id string) uint64 {
		t.Helper()
		places, err := pusher.ParsePlaces(id, channels)
		if err != nil {
			t.Fatal(err)
		}
		return places[0].Serial
	}
	until("rewind_complete")
	again("1", "2", "3")

	// More events than a client may miss are published, all filtered out. Another reader shows how far the
	// server is.
	other, err := http.Get("http://" + s.HTTP + query)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	in, far := bufio.NewScanner(other.Body), uint64(0)
	reads := func(to uint64) {
		t.Helper()
		for far < to {
			if !in.Scan() {
				t.Fatalf("the stream ended at %d: %v", far, in.Err())
			}
			if id, ok := strings.CutPrefix(in.Text(), "id: "); ok {
				far = at(id)
			}
		}
	}
	publish("orders", "note", "4")
	begin := at(until("note").ID)
	for range 120 {
		publish("orders", "other", "x")
	}
	reads(begin + 120 - 20) // the position after the last few events is not sent at once
	again("5")
	_ = browser.in.Close()
	browser.run()
}
