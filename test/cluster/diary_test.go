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

// place is a client's position in a channel.
type place struct {
	Stream string `json:"stream_id"`
	Serial uint64 `json:"serial"`
	ID     string `json:"last_message_id,omitempty"`
}

// told is a gap that a client was told of: the events after after, up to and including through, which is 0
// until it is known.
type told struct {
	after, through uint64
	code, reason   string
	// live is true if the gap was reported in the middle of a connection.
	live bool
}

// diary records what a reconnecting client has seen, whatever its protocol.
type diary struct {
	app      *app.App
	channels []string
	// took is called with the time between the loss of a connection and the moment at which all channels are
	// live again, saw with each event.
	took func(time.Duration)
	saw  func(channel, data string)

	mu     sync.Mutex
	lost   time.Time
	places map[string]place
	began  map[string]place
	got    map[string][]message
	gaps   map[string][]told
	wrong  []string
	// cold counts the subscriptions recovered from the log, resumed all that were recovered.
	cold, resumed int
}

func newDiary(a *app.App, channels []string) diary {
	return diary{
		app: a, channels: channels, took: func(time.Duration) {}, saw: func(string, string) {},
		places: map[string]place{}, began: map[string]place{}, got: map[string][]message{}, gaps: map[string][]told{},
	}
}

// event records an event. The caller holds mu.
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

// has returns the data of the events that the client got of a channel.
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

// refused returns the gaps that the client was told of in a channel.
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

// stroll records that the client disconnects by itself, so its absence is not measured.
func (d *diary) stroll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = time.Time{}
}

// comes connects until all channels are live. A busy gateway may tell the client to come later, or that the
// history cannot be read now. Then the client connects once more in its previous state. connect returns nil
// channels if the gateway is busy.
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
			return false // the client was told to come later
		}
		if d.unread(gaps) {
			leave()
			return false
		}
		return true
	})
}

// unread reports whether the client was told of a gap, beyond those it had, because the log could not be
// read.
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

// fine reports an error for each fault of the server and for each gap.
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
