package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/kv"
)

// tableOf makes records of one channel.
type tableOf struct{ records []kv.Record }

func (l *tableOf) put(node, user string, revision uint64, n content, at time.Time) {
	n.User = user
	value, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	s := seat{"app", "presence-c", node, user}
	l.records = append(l.records, kv.Record{Key: s.key(), Entry: kv.Entry{Value: value, Revision: revision, Time: at}})
}

// TestADeadGatewayOwesThatAChannelIsOccupiedOnce: the number of subscriptions is written again and again, and
// only the first revision in the record says when the channel was occupied.
func TestADeadGatewayOwesThatAChannelIsOccupiedOnce(t *testing.T) {
	for _, c := range []struct {
		last content
		told uint64
		want []string
	}{
		{content{Count: 1}, 15, []string{"occupied 20", "1 counted 20", "0 counted 20", "vacated 20"}},
		{content{Count: 3, First: 10}, 15, []string{"3 counted 20", "0 counted 20", "vacated 20"}},
		{content{Count: 3, First: 17}, 15, []string{"occupied 17", "3 counted 20", "0 counted 20", "vacated 20"}},
		{content{Count: 3, First: 10, Since: 12}, 15, []string{"0 counted 12", "vacated 12"}},
		{content{Gone: true, Since: 17}, 15, []string{"0 counted 17", "vacated 17"}},
		{content{Count: 3, First: 17, Since: 18}, 15, []string{"occupied 17", "0 counted 18", "vacated 18"}},
		{content{Gone: true, First: 17, Since: 17}, 15, []string{"occupied 17", "0 counted 17", "vacated 17"}},
		{content{Gone: true, First: 17, Since: 18}, 15, []string{"occupied 17", "0 counted 18", "vacated 18"}},
		{content{Gone: true, First: 10, Since: 18}, 15, []string{"0 counted 18", "vacated 18"}},
	} {
		var l tableOf
		l.put("dead", "", 20, c.last, time.Time{})
		view := &register{revision: 100, Nodes: map[string]standing{"dead": {Dead: true, Owed: true}}}
		var got []string
		for _, change := range owed(NewFold(false), l.records, view, "dead", 1<<62, c.told) {
			text := map[Kind]string{Counted: fmt.Sprint(change.Count, " counted"), Occupied: "occupied", Vacated: "vacated"}[change.Kind]
			got = append(got, fmt.Sprint(text, " ", change.Cause))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.last, diff)
		}
	}
}

// TestWhoGaveUpAChannelSaysWhenItWasOccupied: the record names the first revision, so that a gateway that
// buries this one knows the id of the occupation.
func TestWhoGaveUpAChannelSaysWhenItWasOccupied(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	a := startWith(t, table, Options{Node: "a", Lease: longLease})
	s := seat{"app", "room", "a", ""}
	stored := func(n int) (content, uint64) {
		a.SetCount(s.app, s.channel, n)
		a.flush(t.Context())
		rec, err := table.Read(t.Context(), s.key())
		if err != nil {
			t.Fatal(err)
		}
		_, c, _ := parse(s.key(), rec.Value)
		return c, rec.Revision
	}
	for range 2 { // the second time begins anew
		_, first := stored(1)
		_, second := stored(2)
		if got, _ := stored(0); !got.Gone || got.First != first || got.Since != second {
			t.Errorf("occupied with %d, counted with %d, and given up as %+v", first, second, got)
		}
	}
}

// TestTrust16WhatADeadGatewayOwesIsWhatHappened: a record also says since when its seat was held, and no
// webhook may say that a channel was empty while it was not.
func TestTrust16WhatADeadGatewayOwesIsWhatHappened(t *testing.T) {
	for _, c := range []struct {
		about string
		fill  func(*tableOf)
		told  uint64
		want  []string
	}{
		{"two leave one after the other", func(l *tableOf) {
			l.put("dead", "alice", 20, content{Gone: true, Since: 10}, time.Time{})
			l.put("dead", "bob", 21, content{Gone: true, Since: 11}, time.Time{})
		}, 15, []string{"removed alice 10", "removed bob 11", "vacated 11"}},
		{"the last one leaves another gateway", func(l *tableOf) {
			l.put("dead", "alice", 20, content{Gone: true, Since: 10}, time.Time{})
			l.put("other", "bob", 21, content{Gone: true, Since: 11}, time.Time{})
		}, 15, []string{"removed alice 10"}},
		{"one goes on whose seat was written again", func(l *tableOf) {
			l.put("dead", "alice", 20, content{Gone: true, Since: 10}, time.Time{})
			l.put("other", "bob", 30, content{Since: 5}, time.Time{})
		}, 15, []string{"removed alice 10"}},
		{"one comes while another is there whose seat was written again", func(l *tableOf) {
			l.put("dead", "alice", 20, content{}, time.Time{})
			l.put("other", "bob", 30, content{Since: 5}, time.Time{})
		}, 15, []string{"added alice 20", "removed alice 20"}},
		{"a record that does not count is of nobody", func(l *tableOf) {
			l.put("unknown", "ghost", 30, content{Since: 5}, time.Time{})
			l.put("dead", "alice", 20, content{Gone: true, Since: 10}, time.Time{})
		}, 15, []string{"removed alice 10", "vacated 10"}},
		{"one who came has left", func(l *tableOf) {
			l.put("dead", "alice", 20, content{Gone: true, Since: 18}, time.Time{})
		}, 15, []string{"occupied 18", "added alice 18", "removed alice 18", "vacated 18"}},
		{"one whose seat was written again just now has come", func(l *tableOf) {
			l.put("dead", "alice", 20, content{Since: 18}, time.Time{})
		}, 15, []string{"occupied 18", "added alice 18", "removed alice 18", "vacated 18"}},
		{"those who were there at the end leave", func(l *tableOf) {
			l.put("dead", "alice", 10, content{}, time.Time{})
			l.put("dead", "bob", 20, content{Gone: true, Since: 11}, time.Time{})
		}, 25, []string{"removed alice 10", "vacated 10"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			var l tableOf
			c.fill(&l)
			view := &register{revision: 100, Nodes: map[string]standing{"other": {}, "dead": {Dead: true, Owed: true}}}
			var got []string
			for _, change := range owed(NewFold(true), l.records, view, "dead", 1<<62, c.told) {
				text := map[Kind]string{Added: "added", Removed: "removed", Occupied: "occupied", Vacated: "vacated"}[change.Kind]
				if change.User != "" {
					text += " " + change.User
				}
				got = append(got, fmt.Sprint(text, " ", change.Cause))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTrust15TwoDeadAtATime: several gateways are buried, each by another one. The sweeps happen after all
// burials or one after the other. The channel is vacated once, by the last sweep.
func TestTrust15TwoDeadAtATime(t *testing.T) {
	var l tableOf
	l.put("b", "alice", 10, content{}, time.Time{})
	l.put("a", "bob", 11, content{}, time.Time{})
	l.put("c", "carol", 12, content{}, time.Time{})
	alive := standing{}
	died := func(at uint64) standing { return standing{Dead: true, Owed: true, Buried: at} }
	back := func(at uint64) standing { return standing{Floor: 50, Owed: true, Buried: at} }
	// They die in the order b, a, c, whatever their names are.
	for _, c := range []struct {
		about   string
		through uint64
		looks   map[string]map[string]standing // what the sweeper of each gateway sees
	}{
		{"all at the same time", 1 << 62, map[string]map[string]standing{
			"b": {"a": died(101), "b": died(100), "c": died(102)},
			"a": {"a": died(101), "b": died(100), "c": died(102)},
			"c": {"a": died(101), "b": died(100), "c": died(102)},
		}},
		{"one after the other", 1 << 62, map[string]map[string]standing{
			"b": {"a": alive, "b": died(100), "c": alive},
			"a": {"a": died(101), "c": alive},
			"c": {"c": died(102)},
		}},
		{"the first ones late", 1 << 62, map[string]map[string]standing{
			"b": {"a": died(101), "b": died(100), "c": died(102)},
			"a": {"a": died(101), "c": died(102)},
			"c": {"a": died(101), "b": died(100), "c": died(102)},
		}},
		{"and come back at once", 50, map[string]map[string]standing{
			"b": {"a": back(101), "b": back(100), "c": back(102)},
			"a": {"a": back(101), "b": back(100), "c": back(102)},
			"c": {"a": back(101), "b": back(100), "c": back(102)},
		}},
	} {
		t.Run(c.about, func(t *testing.T) {
			told := map[Kind]int{}
			for node, nodes := range c.looks {
				for _, change := range owed(NewFold(true), l.records, &register{revision: 200, Nodes: nodes}, node, c.through, 40) {
					told[change.Kind]++
					if change.Kind == Vacated && node != "c" {
						t.Errorf("the end of %s leaves the channel empty", node)
					}
				}
			}
			if diff := cmp.Diff(map[Kind]int{Removed: 3, Vacated: 1}, told); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTrust16OccupiersAreThoseWhoCameFirst: a newcomer tells first who occupied the channel. That is not a
// member that came lately while another one, whose seat was rewritten later, was there.
func TestTrust16OccupiersAreThoseWhoCameFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		about string
		fill  func(*tableOf)
		want  uint64
		at    time.Time
	}{
		{"one who came a moment ago", func(l *tableOf) { l.put("other", "bob", 20, content{}, now) }, 20, now},
		{"one whose seat was written again", func(l *tableOf) {
			l.put("other", "bob", 20, content{}, now)
			l.put("dead", "alice", 30, content{Since: 5}, now)
		}, 5, time.Time{}},
		{"one who has left since", func(l *tableOf) {
			l.put("other", "bob", 20, content{}, now)
			l.put("dead", "alice", 30, content{Gone: true, Since: 5}, now)
		}, 5, time.Time{}},
	} {
		t.Run(c.about, func(t *testing.T) {
			var l tableOf
			c.fill(&l)
			r := &Roster{}
			r.opt.Members = func(string) bool { return true }
			got, at, ok := r.lately("presence-c", l.records)
			if !ok || got.Cause != c.want || !at.Equal(c.at) {
				t.Errorf("the channel was occupied with %d at %v (%v), not with %d at %v", got.Cause, at, ok, c.want, c.at)
			}
		})
	}
}

// waking is a table whose changes arrive while it is read.
type waking struct {
	*kv.MemoryTable
	news func()
}

func (t *waking) Read(ctx context.Context, key string) (kv.Entry, error) {
	t.news()
	return t.MemoryTable.Read(ctx, key)
}

// TestTrust16WhoWasStoppedBuriesNobody: a gateway that goes on after a pause sees changes of other gateways
// late, and all of them may have been stopped together.
func TestTrust16WhoWasStoppedBuriesNobody(t *testing.T) {
	for _, c := range []struct {
		about           string
		renewed, looked bool
	}{{"the others went on", true, false}, {"all were stopped", false, true}} {
		t.Run(c.about, func(t *testing.T) {
			now := time.Unix(1000, 0)
			table := &waking{MemoryTable: kv.NewMemoryTable(nil), news: func() {}}
			r := &Roster{peers: map[string]*peer{}, ctx: t.Context()}
			r.opt.Node, r.opt.Table, r.opt.Lease, r.opt.Now = "mine", table, time.Second, func() time.Time { return now }
			r.opt.Logger = slog.New(slog.DiscardHandler)
			g := &register{Life: "life", Nodes: map[string]standing{"mine": {}, "other": {}}}
			if err := r.writeRegister(t.Context(), g, 0); err != nil {
				t.Fatal(err)
			}
			r.view.Store(g)
			renew := func() kv.Record {
				revision, err := table.Put(t.Context(), leaseKey("other"), leaseValue(0), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				return kv.Record{Key: leaseKey("other"), Entry: kv.Entry{Value: leaseValue(0), Revision: revision}}
			}
			r.peers["other"] = &peer{seen: now, lease: renew().Revision}
			if c.looked {
				r.looked = now
			}
			now = now.Add(time.Minute)
			if c.renewed {
				late := renew()
				table.news = func() { r.heard(late) }
			}
			r.check()
			if !r.view.Load().alive("other") {
				t.Error("it buried a gateway that lives")
			}
		})
	}
}
