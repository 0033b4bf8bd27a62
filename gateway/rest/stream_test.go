package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// streamed is a response in lines.
type streamed struct {
	items []json.RawMessage
	gaps  []uint64
	end   *struct {
		HasMore    bool   `json:"has_more"`
		NextCursor string `json:"next_cursor"`
		Limit      int    `json:"limit"`
		Direction  string `json:"direction"`
		Continuity struct {
			Truncated bool   `json:"truncated_by_retention"`
			By        string `json:"truncated_by"`
			Messages  int    `json:"retained_messages"`
		}
	}
}

func (r *rig) lines(query string) streamed {
	r.t.Helper()
	a := r.call(http.MethodGet, "app", "/channels/c/history?format=ndjson"+query, nil)
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/x-ndjson" {
		r.t.Fatalf("got %d, %v, %s", a.Status, a.Header, a.Body)
	}
	return readLines(r.t, a.Body)
}

func readLines(t testing.TB, body []byte) (s streamed) {
	t.Helper()
	scan := bufio.NewScanner(bytes.NewReader(body))
	scan.Buffer(nil, 32<<20)
	for scan.Scan() {
		var line struct {
			Gap *struct {
				After uint64 `json:"after_serial"`
			}
			End json.RawMessage
		}
		text := bytes.Clone(scan.Bytes())
		if s.end != nil {
			t.Fatalf("a line follows on the last one: %s", text)
		}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch {
		case line.End != nil:
			if err := json.Unmarshal(line.End, &s.end); err != nil {
				t.Fatal(err)
			}
		case line.Gap != nil:
			s.gaps = append(s.gaps, line.Gap.After)
		default:
			s.items = append(s.items, text)
		}
	}
	return s
}

// store publishes n events with size bytes of data, plus their number.
func (r *rig) store(n, size int) {
	r.t.Helper()
	for i := 0; i < n; {
		var batch []broker.Outgoing
		for ; i < n && len(batch) < 500; i++ {
			batch = append(batch, broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Appendf(bytes.Repeat([]byte{'x'}, size), "%d", i)}})
		}
		if _, err := r.log.Publish(context.Background(), "app", batch...); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestTime03LinesAreThePages: the lines are byte for byte the items of pages, in both directions, in one
// response, in several, and within bounds.
func TestTime03LinesAreThePages(t *testing.T) {
	r := newRigWith(t, memory.Options{MaxMessages: 5000}, nil)
	r.store(2750, 1)
	r.publish(`{"name":"<n>","channel":"c","data":"ü\u0000\u2028","tags":{"b":"1","a":"2"},"delta":false,"message_id":"m","conflation_key":"k","extras":{"headers":{"x":1}}}`)
	walk := func(query string, lines bool) (items []string) {
		cursor := ""
		for {
			more := false
			if lines {
				s := r.lines(query + "&cursor=" + url.QueryEscape(cursor))
				if s.end == nil || len(s.gaps) > 0 {
					t.Fatalf("%s: no end, or gaps %v", query, s.gaps)
				}
				for _, i := range s.items {
					items = append(items, string(i))
				}
				more, cursor = s.end.HasMore, s.end.NextCursor
			} else {
				a := r.call(http.MethodGet, "app", "/channels/c/history?limit=100"+query+"&cursor="+url.QueryEscape(cursor), nil)
				var page struct {
					Items      []json.RawMessage
					HasMore    bool   `json:"has_more"`
					NextCursor string `json:"next_cursor"`
				}
				if err := json.Unmarshal(a.Body, &page); err != nil {
					t.Fatal(err)
				}
				for _, i := range page.Items {
					items = append(items, string(i))
				}
				more, cursor = page.HasMore, page.NextCursor
			}
			if !more {
				return items
			}
		}
	}
	for _, query := range []string{"&direction=oldest_first", "&direction=newest_first", "&direction=oldest_first&start_serial=7&end_serial=2300", "&start_serial=99999"} {
		want := walk(query, false)
		if diff := cmp.Diff(want, walk(query, true)); diff != "" {
			t.Errorf("%s (-pages +lines):\n%.2000s", query, diff)
		}
		if diff := cmp.Diff(want, walk(query+"&limit=999", true)); diff != "" {
			t.Errorf("%s in parts (-pages +lines):\n%.2000s", query, diff)
		}
	}
	s := r.lines("&limit=1")
	if len(s.items) != 1 || !s.end.HasMore || s.end.Continuity.Messages != 2751 {
		t.Fatalf("got %+v", s.end)
	}
	for _, want := range []string{`"conflation_key":"k"`, `"delta":false`, `"message_id":"m"`, `"tags":{"a":"2","b":"1"}`} {
		if !strings.Contains(string(s.items[0]), want) {
			t.Errorf("%s is not in %s", want, s.items[0])
		}
	}
	if a := r.call(http.MethodGet, "app", "/channels/c/history?format=xml", nil); a.Status != http.StatusBadRequest || !strings.Contains(a.Error, "json or ndjson") {
		t.Errorf("got %d %s", a.Status, a.Error)
	}
}

// TestTime03LinesOfLargeEvents: a read that ends at its limit of bytes is followed by the next one.
func TestTime03LinesOfLargeEvents(t *testing.T) {
	r := newRigWith(t, memory.Options{MaxBytes: 256 << 20, MaxEventBytes: 32 << 20}, nil)
	// Several events fit into a read.
	for range 12 {
		r.store(1, broker.PageBytes/5)
	}
	r.store(1, 2*broker.PageBytes)
	r.store(3, 1)
	got := 0
	for cursor := ""; ; {
		s := r.lines("&direction=oldest_first&cursor=" + url.QueryEscape(cursor))
		if s.end == nil || len(s.gaps) > 0 {
			t.Fatal("it broke off")
		}
		got += len(s.items)
		if cursor = s.end.NextCursor; !s.end.HasMore {
			break
		}
	}
	if got != 16 {
		t.Errorf("%d events, want 16", got)
	}
}

// meddled is a log that calls before ahead of each read.
type meddled struct {
	rest.Log
	before func(n int64)
	reads  atomic.Int64
}

func (m *meddled) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	m.before(m.reads.Add(1))
	return m.Log.Read(ctx, app, channel, q)
}

// TestTime03WhatIsRemovedWhileItIsReadIsAGap: a reader that retention overtakes is told of the gap, and
// another reader is not.
func TestTime03WhatIsRemovedWhileItIsReadIsAGap(t *testing.T) {
	for name, c := range map[string]struct {
		published int
		gap       bool
	}{"removed": {2500, true}, "nothing that matters is removed": {500, false}} {
		t.Run(name, func(t *testing.T) {
			var r *rig
			r = newRigWith(t, memory.Options{MaxMessages: 3000}, func(o *rest.Options) {
				o.Log = &meddled{Log: o.Log, before: func(n int64) {
					if n == 2 {
						r.store(c.published, 1)
					}
				}}
			})
			r.store(3000, 1)
			s := r.lines("&direction=oldest_first")
			if s.end == nil || s.end.HasMore || c.gap != (len(s.gaps) == 1 && s.gaps[0] == 1000) {
				t.Errorf("gaps %v, end %+v", s.gaps, s.end)
			}
		})
	}
}

// TestTime03LinesObeyLimits: the readable events, the read rate and the room for answers apply.
func TestTime03LinesObeyLimits(t *testing.T) {
	c := time.Now()
	r := newRigWith(t, memory.Options{MaxMessages: 5000}, func(o *rest.Options) {
		o.Now = func() time.Time { return c }
		a := o.Apps.ByID("app")
		a.Limits.ReadsPerSecond = 2
		a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "bounded", Reading: app.Reading{Messages: 3}}})
	})
	r.store(3500, 1)
	s := r.lines("&direction=oldest_first&start_serial=1")
	if len(s.items) != 1999 || s.end == nil || !s.end.HasMore || s.end.NextCursor == "" {
		t.Fatalf("%d events with two reads in a second: %+v", len(s.items), s.end)
	}
	c = c.Add(time.Second)
	s = r.lines("&direction=oldest_first&start_serial=1&cursor=" + url.QueryEscape(s.end.NextCursor))
	if len(s.items) != 1501 || s.end.HasMore {
		t.Errorf("then %d events: %+v", len(s.items), s.end)
	}
	c = c.Add(time.Second)
	for i := range 5 {
		r.publish(fmt.Sprintf(`{"name":"n","channel":"bounded","data":"%d"}`, i))
	}
	a := r.call(http.MethodGet, "app", "/channels/bounded/history?format=ndjson&start_serial=1", nil)
	s = readLines(t, a.Body)
	if len(s.items) != 3 || !s.end.Continuity.Truncated || s.end.Continuity.By != "channel_history" || s.end.Continuity.Messages != 3 {
		t.Errorf("%d events: %+v", len(s.items), s.end)
	}
}

// TestTime03TheMarkOfAReplay: extras.replay must be well formed, and does not count in the size of extras.
func TestTime03TheMarkOfAReplay(t *testing.T) {
	r := newRig(t, nil)
	publish := func(extras string) answer {
		return r.publish(`{"name":"n","channel":"c","data":"d","extras":` + extras + `}`)
	}
	mark := `{"channel":"a","stream_id":"e","serial":7,"published_at_ms":1700000000000}`
	large := `"x":"` + strings.Repeat("x", 16<<10-40) + `"`
	for extras, want := range map[string]string{
		`{"replay":` + mark + `}`:               "",
		`{"replay":` + mark + `,` + large + `}`: "",
		// The most that is allowed without the mark, and one byte more.
		`{"x":"` + strings.Repeat("x", 16<<10-8) + `","replay":` + mark + `}`: "",
		`{"replay":` + mark + `,"x":"` + strings.Repeat("x", 16<<10-8) + `"}`: "",
		`{"x":"` + strings.Repeat("x", 16<<10-7) + `","replay":` + mark + `}`: "extras has 16385 bytes, the limit is 16384",
		`{"x":"` + strings.Repeat("x", 16<<10-7) + `"}`:                       "extras has 16385 bytes, the limit is 16384",
		`{"replay":true}`:            "extras.replay",
		`{"replay":null}`:            "extras.replay must name",
		`{"replay":[]}`:              "extras.replay",
		`{"replay":{"channel":"a"}}`: "extras.replay must name",
		`{"replay":{"channel":"` + strings.Repeat("x", 3000) + `","stream_id":"e","serial":7,"published_at_ms":1}}`: "the limit is 2048",
		`{"replay":{"channel":"a","stream_id":"e","serial":-7,"published_at_ms":1}}`:                                "extras.replay",
		`{"x":"` + strings.Repeat("x", 16<<10) + `","replay":` + mark + `}`:                                         "the limit is 16384",
	} {
		a := publish(extras)
		if want == "" != (a.Status == http.StatusOK) || !strings.Contains(a.Error, want) {
			t.Errorf("%.80s: got %d %s, want %q", extras, a.Status, a.Error, want)
		}
	}
	if a := r.publish(`{"name":"n","channel":"c","data":"d","conflation_key":"` + strings.Repeat("x", 257) + `"}`); !strings.Contains(a.Error, "conflation_key has 257 bytes, the limit is 256") {
		t.Errorf("got %d %s", a.Status, a.Error)
	}
	if a := r.publish(`{"name":"n","channel":"key","data":"d","conflation_key":""}`); a.Status != http.StatusOK {
		t.Errorf("got %d %s", a.Status, a.Error)
	}
	if p := r.stored("app", "key"); len(p) != 1 || !p[0].HasKey || p[0].ConflationKey != "" {
		t.Errorf("stored %+v", p)
	}
}

// TestTime03AReaderWhoDoesNotRead: a reader that does not read loses its connection, and the bytes held for
// its response are given back.
func TestTime03AReaderWhoDoesNotRead(t *testing.T) {
	r := newRigWith(t, memory.Options{MaxMessages: 50_000, MaxBytes: 256 << 20}, func(o *rest.Options) { o.AnswerTimeout = 2 * time.Second })
	r.store(1500, 20<<10) // far more than the kernels of both ends buffer
	query := url.Values{"auth_key": {"app-key"}, "auth_timestamp": {fmt.Sprint(time.Now().Unix())}, "auth_version": {"1.0"}, "format": {"ndjson"}}
	const path = "/apps/app/channels/c/history"
	query.Set("auth_signature", pusher.SignRequest("app-secret", http.MethodGet, path, query))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s?%s HTTP/1.1\r\nHost: x\r\n\r\n", path, query.Encode()); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 100)
	if _, err := io.ReadFull(conn, first); err != nil || !bytes.Contains(first, []byte("200 OK")) {
		t.Fatalf("%q, %v", first, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); r.api.AnswerBytes() > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", r.api.AnswerBytes())
		}
	}
	all, _ := io.ReadAll(conn)
	if bytes.Contains(all, []byte(`{"end":`)) {
		t.Error("the answer came to its end")
	}
}
