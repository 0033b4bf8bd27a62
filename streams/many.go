package streams

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

// many is several events that are published together, by the goroutine of who publishes. Where
// the server can, it stores them as a whole (together.go). Where not, the first events of all channels are on their way at the same time. Those of one channel go one
// after the other, because a retry could overtake; none waits for those of other channels.
type many struct {
	log      *Log
	app      *appLog
	parcels  []*parcel
	receipts []broker.Receipt
	// next is the event that comes next in the channel of each, 0 if none does.
	next []int
	// letters of those that are under way for the first time come in ended; those that need
	// more than that come in placed.
	letters []*letter
	ended   chan *letter
	placed  chan placed
	// left counts the events that are under way.
	left   int
	failed error
	// trouble says that an event could not be looked up at once.
	trouble bool
}

// placed is what became of an event.
type placed struct {
	index   int
	receipt broker.Receipt
	err     error
}

// publishMany publishes events and fills in their receipts.
func (l *Log) publishMany(ctx context.Context, a *appLog, parcels []*parcel, receipts []broker.Receipt) error {
	n := len(parcels)
	m := &many{
		log: l, app: a, parcels: parcels, receipts: receipts, next: make([]int, n),
		letters: make([]*letter, n), ended: make(chan *letter, n), placed: make(chan placed, n),
	}
	before := make(map[string]int, n)
	first := make([]int, 0, n)
	for i, p := range parcels {
		if b, found := before[p.m.Subject]; found {
			m.next[b] = i
		} else {
			first = append(first, i)
		}
		before[p.m.Subject] = i
	}
	stored := false
	if l.takesTogether(a, n) {
		stored, m.failed = m.together(ctx)
	}
	if !stored {
		for _, i := range first {
			m.send(ctx, i)
		}
	}
	for m.left > 0 {
		m.wait(ctx)
	}
	return m.failed
}

// send sends an event for the first time.
func (m *many) send(ctx context.Context, i int) {
	p := m.parcels[i]
	if p.unsure {
		m.left++
		m.place(ctx, i)
		return
	}
	p.begin(m.log, m.app)
	l := &letter{stream: m.app.stream, ended: m.ended, index: i}
	if m.letters != nil {
		m.letters[i] = l
	}
	m.left++
	if err := m.log.send.send(ctx, p.m, l); err != nil {
		l.err = err
		m.ended <- l
	}
}

// wait waits for one event.
func (m *many) wait(ctx context.Context) {
	done := ctx.Done()
	if m.letters == nil {
		done = nil // those that are left see it by themselves
	}
	select {
	case l := <-m.ended:
		m.answered(ctx, l)
	case p := <-m.placed:
		m.end(ctx, p)
	case <-done:
		for _, l := range m.letters {
			if l != nil && m.log.send.forget(l) {
				l.err = ctx.Err()
				m.ended <- l
			}
		}
		m.letters = nil
	}
}

// answered goes on with an event whose first attempt has ended. As a rule it is stored, and
// another one vouches for it; everything else may take a while, and others do not wait for it.
func (m *many) answered(ctx context.Context, l *letter) {
	p, i := m.parcels[l.index], l.index
	p.first = l
	if l.err == nil && l.ack.stream == m.app.stream && !l.ack.duplicate {
		p.note(l.ack.offset)
		if m.sure(ctx, p) {
			p.first = nil
			m.end(ctx, placed{i, m.log.acknowledged(m.app, p, l.ack), nil})
			return
		}
	}
	m.place(ctx, i)
}

// place has an event placed while others go on. It ends with ctx, and is waited for.
func (m *many) place(ctx context.Context, i int) {
	go func() {
		receipt, err := m.log.place(ctx, m.app, m.parcels[i])
		m.placed <- placed{i, receipt, err}
	}()
}

// sure says whether an event is known to be where it belongs.
func (m *many) sure(ctx context.Context, p *parcel) bool {
	if m.app.sure.vouched(p, m.app.upset.Load()) {
		return true
	}
	if !m.trouble {
		m.trouble = m.log.lookedUp(ctx, m.app, p) != inPlace
		return !m.trouble
	}
	return false
}

// end ends an event, and sends the next one of its channel.
func (m *many) end(ctx context.Context, p placed) {
	m.left--
	m.receipts[p.index] = p.receipt
	switch next := m.next[p.index]; {
	case p.err != nil && m.failed == nil:
		m.failed = p.err
	case next > 0 && m.failed == nil:
		m.send(ctx, next)
	}
}
