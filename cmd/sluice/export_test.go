package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/client"
)

// exported parses the lines of an export.
func exported(t testing.TB, text string) (out []record) {
	t.Helper()
	for line := range strings.Lines(text) {
		r, err := parseRecord([]byte(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, r)
	}
	return out
}

// deliverable returns odd events that the HTTP API accepts as well.
func deliverable() []*broker.Event {
	events := odd()
	events[2].Tags = map[string]string{"b": "2", "a": "1"}
	return events
}

func keptOfAll(all []client.HistoryItem) (out []kept) {
	for _, i := range all {
		out = append(out, keptOf(i))
	}
	return out
}

// TestTime03ExportAndImport: events exported from one log and imported into another are there in order, and a
// repeated import, whole or in part, adds nothing.
func TestTime03ExportAndImport(t *testing.T) {
	onEachLog(t, func(t *testing.T, from *rig) {
		from.store("room-a", deliverable()...)
		from.store("room-b", numbered(40)...)
		from.store("room-a", numbered(30)...)
		from.store("other", numbered(3)...)
		text := from.succeed("", "export", "--prefix", "room-")
		lines := exported(t, text)
		if len(lines) != 38+40 || lines[0].Channel != "room-a" || lines[77].Channel != "room-b" {
			t.Fatalf("%d lines from %s to %s", len(lines), lines[0].Channel, lines[len(lines)-1].Channel)
		}
		history := from.history("room-a")
		for n, i := range history {
			r := lines[n]
			m := gjson.Parse(string(i.Message))
			if r.Serial != i.Serial || r.StreamID != i.StreamID || r.Published != i.PublishedAtMS || r.MessageID != i.MessageID || r.Event != i.EventName ||
				*r.Data != i.Data() || r.UserID != m.Get("user_id").String() || string(r.Extras) != m.Get("extras").Raw {
				t.Errorf("line %d is %+v, the history has %+v", n, r, i)
			}
		}
		if one := from.succeed("", "export", "room-b"); !strings.HasSuffix(text, one) || strings.Count(one, "\n") != 40 {
			t.Errorf("one channel alone:\n%.300s", one)
		}
		file := writeFile(t, "rooms.ndjson", text)

		to := newRig(t)
		imports := func(args ...string) string {
			t.Helper()
			status, out, said := execute(t, "", append(append([]string{"import"}, args...), "--url", to.url)...)
			if status != exitOK || out != "" {
				t.Fatalf("status %d: %s%s", status, out, said)
			}
			return said
		}
		if said := imports(file); said != "78 lines imported\n" {
			t.Errorf("said %q", said)
		}
		for _, c := range []string{"room-a", "room-b"} {
			was, is := from.history(c), to.history(c)
			if diff := cmp.Diff(keptOfAll(was), keptOfAll(is)); diff != "" {
				t.Errorf("%s (-exported +imported):\n%.1500s", c, diff)
			}
			for n := range is {
				mark := gjson.Get(string(is[n].Message), "extras.replay")
				if is[n].MessageID != was[n].MessageID || mark.Get("channel").String() != c || mark.Get("serial").Uint() != was[n].Serial || mark.Get("published_at_ms").Int() != was[n].PublishedAtMS {
					t.Fatalf("%s: event %d is %s, was %s", c, n, is[n].Message, was[n].Message)
				}
			}
		}
		if said := imports(file); said != "78 lines imported, 78 of them were there already\n" {
			t.Errorf("said %q", said)
		}
		if said := imports(file, "--from-line", "78"); said != "1 line imported, 1 of them were there already\n" {
			t.Errorf("said %q", said)
		}
		if n := len(to.history("room-a")) + len(to.history("room-b")); n != 78 {
			t.Errorf("%d events after repetitions, want 78", n)
		}
		// Importing into the source log finds everything there.
		if status, _, said := execute(t, text, "import", "-", "--url", from.url); status != exitOK || !strings.Contains(said, "78 of them were there already") {
			t.Errorf("status %d: %s", status, said)
		}
	})
}

// TestTime03ImportKeepsOrderBeyondABatch: the order does not depend on the batch size of the server, and
// large events are sent alone.
func TestTime03ImportKeepsOrderBeyondABatch(t *testing.T) {
	r := newRig(t)
	var lines bytes.Buffer
	for n := range 120 {
		data := fmt.Sprintf("%d %s", n, strings.Repeat("\x01\"\\", n%7*400))
		one := record{Channel: fmt.Sprintf("c%d", n%2), StreamID: "e", Serial: uint64(n + 1), Published: 1, MessageID: fmt.Sprint("m", n), Event: "e", Data: &data}
		if err := one.line(&lines); err != nil {
			t.Fatal(err)
		}
	}
	r.succeed(lines.String(), "import", "-")
	for c := range 2 {
		all := r.history(fmt.Sprintf("c%d", c))
		if len(all) != 60 {
			t.Fatalf("%d events, want 60", len(all))
		}
		for n, i := range all {
			if want := fmt.Sprintf("%d ", 2*n+c); !strings.HasPrefix(i.Data(), want) {
				t.Fatalf("event %d is %.20q", n, i.Data())
			}
		}
	}
}

// TestTime03ImportNamesTheLine: an import names the wrong line, and a file with a wrong line is not published
// at all.
func TestTime03ImportNamesTheLine(t *testing.T) {
	r := newRig(t)
	good := `{"channel":"c","stream_id":"e","serial":1,"published_at_ms":1,"message_id":"m","event":"e","data":"d"}`
	other := strings.Replace(good, `"m"`, `"m2"`, 1)
	for name, c := range map[string]struct{ second, want string }{
		"cut off":                  {good[:50], "line 2: it is cut off"},
		"empty":                    {"\n" + other, "line 2 is empty"},
		"no JSON":                  {"hello", "line 2: it is not a line of an export"},
		"a history line":           {`{"stream_id":"e","serial":1,"message":{}}`, `there is no member "message"`},
		"an array":                 {"[]", "line 2: it is not a line of an export"},
		"two on one line":          {other + other, "line 2: something follows"},
		"not UTF-8":                {strings.Replace(other, `"d"`, "\"\xff\"", 1), "line 2: it is not UTF-8"},
		"no channel":               {strings.Replace(other, `"channel":"c",`, "", 1), "line 2: channel is missing"},
		"no data":                  {strings.Replace(other, `,"data":"d"`, "", 1), "line 2: data is missing"},
		"no id":                    {strings.Replace(other, `"m2"`, `""`, 1), "line 2: message_id is missing"},
		"a number of another kind": {strings.Replace(other, `"serial":1`, `"serial":-1`, 1), "line 2: it is not a line of an export"},
		"a channel that is none":   {strings.Replace(other, `"c"`, `"no channel"`, 1), "line 2: "},
		"extras of another kind":   {strings.Replace(other, `"data"`, `"extras":[1],"data"`, 1), "line 2: extras is not an object"},
	} {
		file := writeFile(t, "f.ndjson", good+"\n"+c.second+"\n")
		for _, args := range [][]string{{file}, {file, "--check"}} {
			status, _, said := execute(t, "", append([]string{"import", "--url", r.url}, args...)...)
			if status != exitFailure || !strings.Contains(said, c.want) || !strings.Contains(said, "Nothing was published") {
				t.Errorf("%s: status %d, %q, want %q", name, status, said, c.want)
			}
		}
	}
	if out := r.succeed("", "history", "c"); out != "" {
		t.Errorf("something was published:\n%s", out)
	}
	// Standard input is published as it comes.
	status, _, said := execute(t, good+"\n"+good[:50], "import", "-", "--url", r.url)
	if status != exitFailure || !strings.Contains(said, "line 2: it is cut off") || !strings.Contains(said, "Go on with: sluice import - --from-line 2 --url ") || len(r.history("c")) != 1 {
		t.Errorf("status %d: %s", status, said)
	}
	// A line that this server refuses is named as well.
	large := writeFile(t, "r.ndjson", other+"\n"+strings.Replace(strings.Replace(good, `"d"`, `"`+strings.Repeat("x", 10<<10+1)+`"`, 1), `"m"`, `"m3"`, 1)+"\n")
	status, _, said = execute(t, "", "import", large, "--url", r.url)
	if status != exitFailure || !strings.Contains(said, "line 2 is refused: ") || !strings.Contains(said, "data has 10241 bytes") || !strings.Contains(said, "--from-line 2") || len(r.history("c")) != 2 {
		t.Errorf("status %d: %s", status, said)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--from-line is 0, the first line is 1", []string{"import", large, "--from-line", "0"}},
		{"--from-line is 9, and", []string{"import", large, "--from-line", "9"}},
		{"give one channel, or --prefix", []string{"export"}},
		{"give one channel, or --prefix", []string{"export", "c", "--prefix", "d"}},
		{"--start needs --prefix", []string{"export", "c", "--start", "d"}},
		{"--start-serial needs --start", []string{"export", "--prefix", "c", "--start-serial", "7"}},
		{"with --prefix give times", []string{"export", "--prefix", "c", "--from", "7"}},
		{"which has not come yet", []string{"export", "c", "--from", "2999-01-01"}},
	} {
		if status, _, said := execute(t, "", append(c.args, "--url", r.url)...); status != exitUsage || !strings.Contains(said, c.want) {
			t.Errorf("%v: status %d, %s", c.args, status, said)
		}
	}
	if status, _, said := execute(t, "", "export", "--prefix", "nobody", "--url", r.url); status != exitFailure || !strings.Contains(said, "no events of channels that begin with") {
		t.Errorf("status %d: %s", status, said)
	}
	if status, _, said := execute(t, "", "import", filepath.Join(t.TempDir(), "none"), "--url", r.url); status != exitFailure || !strings.Contains(said, "no such file") {
		t.Errorf("status %d: %s", status, said)
	}
}

// small is an output that accepts a limited number of bytes.
type small struct {
	bytes.Buffer
	room int
}

func (s *small) Write(b []byte) (int, error) {
	n := min(len(b), s.room-s.Len())
	s.Buffer.Write(b[:n])
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// part runs a command whose output has room for some bytes, and returns its whole lines and the command to go
// on with.
func (r *rig) part(room int, args ...string) (whole string, goesOn []string) {
	r.t.Helper()
	out, said := &small{room: room}, newOutput()
	status := run(r.t.Context(), newRoot(), args, strings.NewReader(""), out, said)
	found := regexp.MustCompile(`(?m)Go on with: sluice (.*?)( >> FILE)?$`).FindStringSubmatch(said.String())
	if status != exitFailure || found == nil || !strings.Contains(said.String(), "no space left") {
		r.t.Fatalf("%v with %d bytes: status %d: %s", args, room, status, said)
	}
	whole = out.String()
	cut := strings.LastIndexByte(whole, '\n') + 1
	if torn := strings.Contains(said.String(), "in the middle of a line"); torn != (cut < len(whole)) {
		r.t.Errorf("%v with %d bytes ends with %q: said %s", args, room, whole[cut:], said)
	}
	if strings.Contains(found[1], "-1h") || strings.Contains(found[1], "now") {
		r.t.Errorf("%s means another time when it is used", found[1])
	}
	return whole[:cut], strings.Fields(strings.ReplaceAll(found[1], "'", ""))
}

// TestTime03ExportSaysWhereToGoOn: the output so far and that of the command in the message are together the
// whole export, each line once, however often it is stopped again.
func TestTime03ExportSaysWhereToGoOn(t *testing.T) {
	r := newRig(t)
	for _, c := range []string{"room-a", "room-b", "room-c"} {
		r.store(c, numbered(300)...)
	}
	for _, args := range [][]string{
		{"export", "room-b"}, {"export", "--prefix", "room-"}, {"export", "--prefix", "room-", "--from", "-1h", "--to", "now"},
		{"replay", "room-b", "--json", "--speed", "max"},
	} {
		whole := r.succeed("", args...)
		line := strings.IndexByte(whole, '\n') + 1
		for _, rooms := range [][]int{
			{line}, {len(whole) / 2}, {len(whole) - 10},
			// No byte passes the second time, then a few, and none again.
			{len(whole) / 2, 0}, {0, len(whole) / 3, 10, line + 10, 0},
		} {
			text, again := "", append(args, "--url", r.url)
			for _, room := range rooms {
				var came string
				came, again = r.part(room, again...)
				text += came
			}
			status, rest, told := execute(t, "", again...)
			if status != exitOK {
				t.Fatalf("%v: %s", again, told)
			}
			if text+rest != whole {
				t.Errorf("%v with room for %v bytes, then %v: %d lines, want %d", args, rooms, again, strings.Count(text+rest, "\n"), strings.Count(whole, "\n"))
			}
		}
	}
}

// TestTime03AnExportThatGoesOnCanBeStoppedAgain: if it is stopped before its first event, it names the same
// position once more.
func TestTime03AnExportThatGoesOnCanBeStoppedAgain(t *testing.T) {
	r := newRig(t)
	for _, c := range []string{"room-a", "room-b"} {
		r.store(c, numbered(10)...)
	}
	from := fmt.Sprint(r.history("room-b")[5].Serial)
	pages := 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/channels/room-b/history") {
			if pages++; pages > 2 { // the two before look for the ends
				stop()
				<-q.Context().Done()
				return
			}
		}
		forward(w, q, r.url)
	}))
	defer proxy.Close()
	said := newOutput()
	status := run(ctx, newRoot(), []string{"export", "--prefix", "room-", "--start", "room-b", "--start-serial", from, "--url", proxy.URL}, strings.NewReader(""), io.Discard, said)
	if want := "Go on with: sluice export --prefix room- --start room-b --start-serial " + from + " "; status != exitFailure || !strings.Contains(said.String(), want) {
		t.Errorf("status %d: %s, want %s", status, said, want)
	}
}

// TestTime03AnExportGoesOnBehindAChannelThatIsRemoved: a channel is removed between the requests for its last
// and its first event, and the export goes on with the next channel.
func TestTime03AnExportGoesOnBehindAChannelThatIsRemoved(t *testing.T) {
	r := newRig(t)
	for _, c := range []string{"room-a", "room-b", "room-c"} {
		r.store(c, numbered(3)...)
	}
	asked := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/channels/room-b/history") {
			if asked++; asked == 2 {
				r.succeed("", "purge", "room-b", "--yes")
			}
		}
		forward(w, q, r.url)
	}))
	defer proxy.Close()
	status, out, said := execute(t, "", "export", "--prefix", "room-", "--url", proxy.URL)
	if lines := exported(t, out); status != exitOK || len(lines) != 6 || lines[5].Channel != "room-c" || asked != 2 {
		t.Errorf("status %d, %d lines after %d questions: %s", status, len(lines), asked, said)
	}
}

// forward sends a request on to a server.
func forward(w http.ResponseWriter, q *http.Request, to string) {
	target, err := url.Parse(to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, FlushInterval: -1}).ServeHTTP(w, q)
}

// TestTime03ExportOfWhatCannotBeDelivered: the export has the reason for an undeliverable event, and an
// import leaves the event out.
func TestTime03ExportOfWhatCannotBeDelivered(t *testing.T) {
	r := newRig(t)
	r.rawPublish("c", "bad\xff")
	r.store("c", numbered(1)...)
	text := r.succeed("", "export", "c")
	lines := exported(t, text)
	if len(lines) != 2 || !strings.Contains(lines[0].Skipped, "UTF-8") || lines[1].Skipped != "" {
		t.Fatalf("exported %s", text)
	}
	to := newRig(t)
	status, _, said := execute(t, text, "import", "-", "--url", to.url)
	if status != exitOK || said != "2 lines imported, 1 cannot be delivered and were left out\n" || len(to.history("c")) != 1 {
		t.Errorf("status %d: %s", status, said)
	}
}

// TestTime03ALargeExport: a large export passes in pieces of the size that a server gives and accepts.
func TestTime03ALargeExport(t *testing.T) {
	if testing.Short() {
		t.Skip("stores some megabytes")
	}
	r := newRig(t)
	big := strings.Repeat("ü\x01", 3000)
	for i := range 3 {
		events := make([]*broker.Event, 100)
		for j := range events {
			events[j] = &broker.Event{Name: "big", Data: fmt.Appendf(nil, "%d %s", i*100+j, big), Origin: broker.OriginHTTP}
		}
		r.store("c", events...)
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(r.succeed("", "export", "c")), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newRedisRig(t)
	to.succeed("", "import", file)
	if diff := cmp.Diff(keptOfAll(r.history("c")), keptOfAll(to.history("c"))); diff != "" {
		t.Errorf("(-exported +imported):\n%.800s", diff)
	}
}

func FuzzParseRecord(f *testing.F) {
	good := `{"channel":"c","stream_id":"e","serial":1,"published_at_ms":1,"message_id":"m","event":"e","data":"d","tags":{"a":"b"},"extras":{"x":[1]},"delta":true,"conflation_key":""}`
	for _, text := range []string{good, good[:40], "{}", "[]", "null", "", good + good, `{"skipped":"x"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		if _, err := r.publish("c", "id"); err != nil {
			t.Fatalf("%q is a record and cannot be published: %v", text, err)
		}
		var line bytes.Buffer
		if err := r.line(&line); err != nil || !json.Valid(line.Bytes()) || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
			t.Fatalf("%q becomes %q, %v", text, line.Bytes(), err)
		}
		again, err := parseRecord(bytes.TrimSpace(line.Bytes()))
		if diff := cmp.Diff(r, again); err != nil || diff != "" && string(r.Extras) == string(again.Extras) {
			t.Fatalf("%v, once and again (-+):\n%s", err, diff)
		}
	})
}
