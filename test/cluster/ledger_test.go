package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// ledger remembers the acknowledged events and their positions.
type ledger struct {
	mu    sync.Mutex
	acked map[string]entry
	// failed holds the refused publishes.
	failed []failure
	n      int
	began  time.Time
}

type entry struct {
	broker.Position
	channel string
	gate    int
	from    time.Time
	to      time.Time
}

type failure struct {
	gate     int
	from, to time.Time
	err      error
}

// publishing publishes to the logs of all gateways in turn until ctx is done.
func (l *ledger) publishing(ctx context.Context, c *cluster, a *app.App, channels []string, rnd *rand.Rand) {
	pace := time.NewTicker(4 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		l.mu.Lock()
		l.n++
		id := fmt.Sprint("e", l.n)
		l.mu.Unlock()
		channel, gate := channels[rnd.IntN(len(channels))], rnd.IntN(len(c.nodes))
		size := 10
		if rnd.IntN(10) == 0 {
			size = 20 << 10
		}
		event := &broker.Event{Name: "load", Data: fmt.Appendf(nil, `{"id":%q,"pad":%q}`, id, strings.Repeat("x", size))}
		if rnd.IntN(3) == 0 {
			event.DedupID = id
		}
		from := time.Now()
		got, err := c.nodes[gate].log.Publish(ctx, a.ID, broker.Outgoing{Channel: channel, Event: event})
		l.mu.Lock()
		switch {
		case err == nil:
			l.acked[id] = entry{got[0].Position, channel, gate, from, time.Now()}
		case ctx.Err() == nil && !errors.Is(err, broker.ErrTooLarge):
			l.failed = append(l.failed, failure{gate, from, time.Now(), err})
		}
		l.mu.Unlock()
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func idOf(data string) string {
	var d struct{ ID string }
	_ = json.Unmarshal([]byte(data), &d)
	return d.ID
}

// listener is a subscriber of one channel, attached to a gateway's log beside the hub. It keeps the events
// and gaps it got.
type listener struct {
	gate    int
	channel string

	mu    sync.Mutex
	got   []string // ids, empty for a gap
	times map[string]int
	first map[string]broker.Position // or the last one
	twice map[string]string
	gaps  []broker.Gap
	at    broker.Position
	wrong []string
}

// Publication implements [broker.Sink].
func (s *listener) Publication(p *broker.Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Epoch != s.at.Epoch || p.Offset <= s.at.Offset {
		s.wrong = append(s.wrong, fmt.Sprintf("%d of %s came after %+v", p.Offset, p.Epoch, s.at))
	}
	s.at = broker.Position{Epoch: p.Epoch, Offset: p.Offset}
	if id := idOf(string(p.Data)); id != "" && p.Skipped == "" {
		s.got = append(s.got, id)
		s.times[id]++
		// A new epoch of the log may contain, after its start, events that an earlier epoch had.
		if first, again := s.first[id]; again && first.Epoch == p.Epoch {
			s.twice[id] = fmt.Sprintf("%s at %d and again at %d (%s)", id, first.Offset, p.Offset, p.Time.Format("05.000"))
		}
		s.first[id] = s.at
	}
}

// Gap implements [broker.Sink].
func (s *listener) Gap(g broker.Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps, s.got, s.at = append(s.gaps, g), append(s.got, ""), g.Resume
}

// told reports whether a position is in one of the gaps that the listener was told of. The gateway that
// acknowledged an event may not have known yet of the epoch that the event is in.
func (s *listener) told(at broker.Position) bool {
	return slices.ContainsFunc(s.gaps, func(g broker.Gap) bool {
		within := at.Offset > g.After.Offset && at.Offset <= g.Resume.Offset
		if g.Resume.Epoch != g.After.Epoch {
			return within || at.Epoch == g.After.Epoch && at.Offset > g.After.Offset
		}
		return within && at.Epoch == g.After.Epoch
	})
}

// missing returns the acknowledged events that the listener neither got nor was told to have missed, and
// their number by the gateway that acknowledged them.
func (s *listener) missing(l *ledger, gates int) (all []string, by []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	by = make([]int, gates)
	for id, e := range l.acked {
		if e.channel == s.channel && s.times[id] == 0 && !s.told(e.Position) {
			all = append(all, fmt.Sprintf("%s at %d (%.3f to %.3f)", id, e.Offset, e.from.Sub(l.began).Seconds(), e.to.Sub(l.began).Seconds()))
			by[e.gate]++
		}
	}
	slices.Sort(all)
	return all, by
}

// repeated returns the events that came twice without a reason. If an acknowledgement is lost, the event is
// sent again, and NATS recognizes it by its id; unless the operator shortened the duplicate window and had
// the first one removed as well, which leaves no trace.
func (s *listener) repeated(l *ledger) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, text := range s.twice {
		if e, acked := l.acked[id]; acked && e.to.Sub(e.from) < firstRetry {
			out = append(out, text)
		}
	}
	return out
}

// firstRetry is the least time after which a gateway sends an event again.
const firstRetry = 50 * time.Millisecond

// listen attaches a listener to each channel of each gateway.
func listen(t *testing.T, c *cluster, a *app.App, channels []string) (all []*listener) {
	t.Helper()
	for gate, n := range c.nodes {
		for _, channel := range channels {
			s := &listener{gate: gate, channel: channel, times: map[string]int{}, first: map[string]broker.Position{}, twice: map[string]string{}}
			at, err := n.log.Attach(t.Context(), a.ID, channel, s)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(at.Detach)
			s.mu.Lock()
			if s.at.Epoch == "" {
				s.at = at.Position()
			}
			s.mu.Unlock()
			all = append(all, s)
		}
	}
	return all
}

// visits holds the subscriptions of a client that always reconnects: for each one the events from its success
// to its end.
type visits struct {
	gate int
	mu   sync.Mutex
	all  map[string][][]string // by channel
	ends map[int]int           // by close code
}

// visiting subscribes to channels at a gateway, again after each end, until ctx is done.
func (v *visits) visiting(ctx context.Context, n *node, a *app.App, channels []string) {
	for ctx.Err() == nil {
		w := client.Options{URL: "http://" + n.Addr(), Key: a.Key, Delta: true, OnEvent: func(e client.Event) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if id := idOf(e.Data); id != "" && e.Name == "load" {
				of := v.all[e.Channel]
				of[len(of)-1] = append(of[len(of)-1], id)
			}
		}}
		v.mu.Lock()
		for _, channel := range channels {
			v.all[channel] = append(v.all[channel], nil)
		}
		v.mu.Unlock()
		if err := v.visit(ctx, w, channels); err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// visit is one connection. It returns an error if it could not subscribe to all channels.
func (v *visits) visit(ctx context.Context, opt client.Options, channels []string) error {
	c, err := client.Dial(ctx, opt)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, channel := range channels {
		if err := c.Subscribe(ctx, channel); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
	case <-c.Done():
		var closed *client.CloseError
		if errors.As(c.Err(), &closed) {
			v.mu.Lock()
			v.ends[closed.Code]++
			v.mu.Unlock()
		}
	}
	return nil
}

// check compares each visit with what the gateway's listener got: it must be an unbroken part of that,
// without a gap inside.
func (v *visits) check(t *testing.T, channel string, s *listener) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range v.all[channel] {
		if len(got) == 0 {
			continue
		}
		// The first event of the visit may have come twice.
		if !slices.ContainsFunc(indices(s.got, got[0]), func(from int) bool {
			return from+len(got) <= len(s.got) && slices.Equal(s.got[from:from+len(got)], got)
		}) {
			t.Errorf("gateway %d, %s: a client got %q, which is no part of what the gateway had: %q", v.gate, channel, got, s.got)
		}
	}
}

// indices returns the indices at which a list has a text.
func indices(list []string, of string) (all []int) {
	for i, x := range list {
		if x == of {
			all = append(all, i)
		}
	}
	return all
}
