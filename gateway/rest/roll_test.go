package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// largeCensus has channels each of which takes so many bytes in a list.
type largeCensus struct {
	channels map[string]Count
	each     int
}

func (c largeCensus) Channel(context.Context, string, string) (Count, error)  { return Count{}, nil }
func (c largeCensus) Users(context.Context, string, string) ([]string, error) { return nil, nil }
func (c largeCensus) Channels(_ context.Context, _, _ string, room func(int) error) (map[string]Count, error) {
	for range c.channels {
		if err := room(c.each); err != nil {
			return nil, err
		}
	}
	return maps.Clone(c.channels), nil
}

func largeRequest(t *testing.T, census Census) *request {
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	a := New(Options{Apps: app.NewRegistry(&app.App{ID: "app"}, &app.App{ID: "other"}), Log: log, Census: census, MaxBody: 1 << 10, MaxBodies: 1 << 20})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/apps/app/channels", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &request{api: a, http: req, app: a.opt.Apps.ByID("app"), hold: hold{bodies: a.bodies, app: "app"}}
}

// largeList returns n channels with names of 160 bytes.
func largeList(n int) map[string]Count {
	out := map[string]Count{}
	for i := range n {
		out[fmt.Sprintf("presence-%0151d", i)] = Count{i + 1, i}
	}
	return out
}

// TestTrust01ListsHaveRoomBeforeTheyAreMade: room is reserved before the text of a list is made. Before,
// sixty requests for a list of some megabytes made as many texts first, and the process grew by gigabytes.
func TestTrust01ListsHaveRoomBeforeTheyAreMade(t *testing.T) {
	r := largeRequest(t, largeCensus{largeList(2000), 100})
	first, err := r.channels()
	if err != nil {
		t.Fatal(err)
	}
	one := first.(*shared)
	if held := r.api.AnswerBytes(); held < int64(len(one.body)) || len(one.body) < 2000*160 {
		t.Errorf("%d bytes are held for a text of %d", held, len(one.body))
	}
	// There is no more room in the app's half.
	if _, err := r.channels(); limitOf(err) != limitAnswers {
		t.Errorf("beside it: %v", err)
	}
	one.release()
	if held := r.api.AnswerBytes(); held != 0 {
		t.Errorf("%d bytes are held afterwards", held)
	}

	// Requests that share a list share its texts as well.
	list, err := r.rollOfChannels(t.Context(), r.api.opt.Census)
	if err != nil || r.api.AnswerBytes() != 0 {
		t.Fatalf("%v, %d bytes are held", err, r.api.AnswerBytes())
	}
	var all []*shared
	for range 60 {
		got, err := list.answer(r, question{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got.(*shared))
	}
	if _, err := list.answer(r, question{asked: attributes{subscriptions: true}}); limitOf(err) != limitAnswers {
		t.Errorf("another text beside it: %v", err)
	}
	for _, s := range all {
		if &s.body[0] != &all[0].body[0] {
			t.Fatal("there are several texts")
		}
		s.release()
	}
	if held := r.api.AnswerBytes(); held != 0 || len(list.texts.of) != 0 {
		t.Errorf("%d bytes are held afterwards, and %d texts", held, len(list.texts.of))
	}

	// Room is reserved while the list is read, beside what other requests of the app hold.
	other := hold{bodies: r.api.answers, app: "app"}
	if !other.take(r.api.answers.share() - 1000) {
		t.Fatal("there is no room at all")
	}
	if _, err := r.rollOfChannels(t.Context(), r.api.opt.Census); limitOf(err) != limitAnswers {
		t.Errorf("without room: %v", err)
	}
	other.release()
	// A list that is larger than the whole room can be made, but only alone.
	r.api.opt.Census = largeCensus{largeList(10), 1 << 20}
	if _, err := r.rollOfChannels(t.Context(), r.api.opt.Census); err != nil || r.api.AnswerBytes() != 0 {
		t.Errorf("a large one: %v, and %d bytes are held", err, r.api.AnswerBytes())
	}
}

func limitOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.limit
	}
	return ""
}

// TestTextsOfListsAreThoseOfValues: the hand-written JSON is never larger than the reserved room, and equals
// that of encoding/json.
func TestTextsOfListsAreThoseOfValues(t *testing.T) {
	r := largeRequest(t, nil)
	names := []string{"", "a", "presence-\"\\\n\x00\x1f", "presence-b", "presence-ü\u2028", "user\xff"}
	counts := []Count{{}, {1, 0}, {1 << 60, 1 << 60}, {2, 1}, {3, 3}, {4, 4}}
	for _, prefix := range []string{"", "presence-", "none"} {
		for _, asked := range []attributes{{}, {users: true}, {subscriptions: true}, {users: true, subscriptions: true}} {
			l := newRoll(names, counts)
			want := map[string]map[string]map[string]any{"channels": {}}
			for i, name := range names {
				if strings.HasPrefix(name, prefix) {
					want["channels"][name] = asked.of(name, counts[i])
				}
			}
			check(t, r, l, question{prefix, asked}, want)
		}
	}
	type user struct {
		ID string `json:"id"`
	}
	want := map[string][]user{"users": {}}
	check(t, r, newRoll(nil, nil), question{}, want)
	for _, name := range slices.Sorted(slices.Values(names)) {
		want["users"] = append(want["users"], user{name})
	}
	check(t, r, newRoll(names, nil), question{}, want)
}

func check(t *testing.T, r *request, l *roll, q question, want any) {
	t.Helper()
	got, err := l.answer(r, q)
	if err != nil {
		t.Fatal(err)
	}
	body := got.(*shared).body
	from, _ := slices.BinarySearch(l.names, q.prefix)
	if n := l.most(from, len(l.names), q.asked); len(body) > n {
		t.Errorf("%d bytes, where there is room for %d", len(body), n)
	}
	var mine, theirs any
	text, _ := json.Marshal(want)
	if json.Unmarshal(text, &theirs) != nil || json.Unmarshal(body, &mine) != nil || fmt.Sprint(mine) != fmt.Sprint(theirs) {
		t.Errorf("%v: got %s, want %s", q, body, text)
	}
}
