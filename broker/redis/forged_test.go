package redis

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/test/redisserver"
)

// TestAnnouncedButNotInTheLog: before, a live message that is not in the log, because a server lost the event
// or the message was forged, was held for a repair, found missing, and held again, so that a gateway kept
// reading a silent channel without a pause.
func TestAnnouncedButNotInTheLog(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	w := attachTo(t, l, "c")
	offset := publishOne(t, l, "c", "before")
	until(t, "it is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	live := l.keys.channel("app-1", "c").live
	if err := l.pub.Do(t.Context(), l.pub.B().Publish().Channel(live).
		Message("9007199254740000 9007199254739999 1 1 - x").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	until(t, "the repair is over", func() bool { return l.Stats().Rejected > 0 || l.Stats().Repairs > 20 })
	if n := l.Stats().Repairs; n > 2 {
		t.Errorf("%d repairs for one message", n)
	}
	if next := publishOne(t, l, "c", "after"); next <= offset {
		t.Errorf("offset %d follows %d", next, offset)
	}
	until(t, "the next one is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 2 })
	if _, gaps := w.seen(); len(gaps) > 0 {
		t.Errorf("gaps %+v, want none", gaps)
	}
}

// TestDatabasesDoNotHearEachOther: Redis publishes across its databases. Before, two installations in two
// databases got each other's events and members.
func TestDatabasesDoNotHearEachOther(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	zero, one := open(t, server.URL(), false, silent), open(t, server.URL()+"/1", false, silent)
	w := attachTo(t, zero, "c")
	publishOne(t, one, "c", "other")
	publishOne(t, zero, "c", "own")
	until(t, "the own event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	if n := zero.Stats().Live; n != 1 {
		t.Errorf("%d live messages, want the own one", n)
	}
	tables := [2]*Table{}
	for i, l := range []*Log{zero, one} {
		var err error
		if tables[i], err = l.OpenTable(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range tables[0].topicsOf("a.b.c") {
		for _, other := range tables[1].topicsOf("a.b.c") {
			if strings.EqualFold(topic, other) {
				t.Errorf("both tell writes on %s", topic)
			}
		}
	}
}
