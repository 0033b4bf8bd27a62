package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// place is where a client is in a channel.
type place struct {
	Stream string `json:"stream_id"`
	Serial uint64 `json:"serial"`
	ID     string `json:"last_message_id,omitempty"`
}

// told is a part of the past that a client was told it cannot have: what lies above after, up
// to and with through, which is 0 until that is known.
type told struct {
	after, through uint64
	code, reason   string
	// live: it was told so in the middle of a connection.
	live bool
}

// diary is what a client that comes back has seen, whatever it speaks.
type diary struct {
	app      *app.App
	channels []string
	// took is told how long it was between the loss of a connection and the moment at which
	// all was live again, and saw of each event.
	took func(time.Duration)
	saw  func(channel, data string)

	mu     sync.Mutex
	lost   time.Time
	places map[string]place
	began  map[string]place
	got    map[string][]message
	gaps   map[string][]told
	wrong  []string
	// cold counts what was recovered from the log, and resumed all that was recovered.
	cold, resumed int
}

func newDiary(a *app.App, channels []string) diary {
	return diary{
		app: a, channels: channels, took: func(time.Duration) {}, saw: func(string, string) {},
		places: map[string]place{}, began: map[string]place{}, got: map[string][]message{}, gaps: map[string][]told{},
	}
}

// event notes one that came. The caller holds the lock.
func (d *diary) event(m message, at place) {
	was := d.places[m.Channel]
	if gaps := d.gaps[m.Channel]; len(gaps) > 0 && gaps[len(gaps)-1].through == 0 {
		gaps[len(gaps)-1].through = at.Serial - 1
	} else if at.Stream != was.Stream || at.Serial <= was.Serial {
		d.wrong = append(d.wrong, fmt.Sprintf("after %+v came %s", was, m.text))
	}
	d.places[m.Channel] = at
	d.got[m.Channel] = append(d.got[m.Channel], m)
	d.saw(m.Channel, m.str())
}

// has is what the client got of a channel.
func (d *diary) has(channel string) (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.got[channel] {
		all = append(all, m.str())
	}
	return all
}

func (d *diary) count(channel string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got[channel])
}

// refused is what the client was told it cannot have of a channel.
func (d *diary) refused(channel string) []told {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.gaps[channel])
}

func (d *diary) at(channel string) place {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.places[channel]
}

// stroll says that the client is away because it wants to be.
func (d *diary) stroll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = time.Time{}
}

// comes connects until all is live. A gateway that has much to do may say that the client shall
// come later, or that the past cannot be read now. Then the client comes once more, as it was.
// connect returns nothing for a gateway that is busy.
func (d *diary) comes(t *testing.T, connect func() (live, done <-chan struct{}, leave func())) {
	t.Helper()
	d.mu.Lock()
	places, began, got, gaps, resumed, cold := maps.Clone(d.places), maps.Clone(d.began), maps.Clone(d.got), maps.Clone(d.gaps), d.resumed, d.cold
	d.mu.Unlock()
	eventually(t, "the client is live", func() bool {
		d.mu.Lock()
		d.places, d.began, d.got, d.gaps = maps.Clone(places), maps.Clone(began), maps.Clone(got), maps.Clone(gaps)
		d.resumed, d.cold = resumed, cold
		d.mu.Unlock()
		live, done, leave := connect()
		if leave == nil {
			return false
		}
		select {
		case <-live:
		case <-done:
		case <-time.After(patience):
			d.mu.Lock()
			defer d.mu.Unlock()
			t.Fatalf("not live: it is at %v of %v, wrong: %v", d.places, d.channels, d.wrong)
		}
		select {
		case <-live:
		default:
			return false // It was to come later.
		}
		if d.unread(gaps) {
			leave()
			return false
		}
		return true
	})
}

// unread tells whether the log could not be read since a client had those gaps.
func (d *diary) unread(had map[string][]told) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for channel, gaps := range d.gaps {
		for _, gap := range gaps[len(had[channel]):] {
			if gap.code == string(pusher.PersistenceUnavailable) {
				return true
			}
		}
	}
	return false
}

// fine complains of what the server did wrong, and of gaps that were not to be.
func (d *diary) fine(t *testing.T, what string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.wrong {
		t.Errorf("%s: %s", what, w)
	}
	for channel, gaps := range d.gaps {
		t.Errorf("%s: %s was refused: %+v", what, channel, gaps)
	}
}
