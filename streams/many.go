package streams

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

// many is several events that are published together, by the goroutine of who publishes. Where
// the server can, it stores them as a whole (together.go). Where not, the first events of all
// channels are on their way at the same time. Those of one channel go one after the other, because
// a retry could overtake; none waits for those of other channels.
type many struct {
	log      *Log
	app      *appLog
	parcels  []parcel
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
func (l *Log) publishMany(ctx context.Context, a *appLog, parcels []parcel, receipts []broker.Receipt) error {
	n := len(parcels)
	m := &many{
		log: l, app: a, parcels: parcels, receipts: receipts,
		letters: make([]*letter, n), ended: make(chan *letter, n), placed: make(chan placed, n),
	}
	stored := false
	if l.takesTogether(a, n) {
		stored, m.failed = m.together(ctx)
	}
	if !stored {
		m.sendFirst(ctx)
	}
	for m.left > 0 {
		m.wait(ctx)
	}
	return m.failed
}

// few is up to how many events are compared with each other, which is quicker than a map.
const few = 32

// lineUp lines up those that are in the same channel, and puts first those that nobody is before, in the
// order in which they are sent.
func (m *many) lineUp() (first []int) {
	n := len(m.parcels)
	m.next = make([]int, n)
	first = make([]int, 0, n)
	var before map[string]int
	if n > few {
		before = make(map[string]int, n)
	}
	for i := range m.parcels {
		subject, b := m.parcels[i].m.Subject, -1
		if before != nil {
			if found, ok := before[subject]; ok {
				b = found
			}
			before[subject] = i
		} else {
			for b = i - 1; b >= 0 && m.parcels[b].m.Subject != subject; b-- {
			}
		}
		if b >= 0 {
			m.next[b] = i
		} else {
			first = append(first, i)
		}
	}
	return first
}

// sendFirst sends the first events of all channels, together if there is room for them at once and
// none of them may be stored already.
func (m *many) sendFirst(ctx context.Context) {
	first := m.lineUp()
	s, letters := m.log.send, make([]letter, len(first))
	for k, i := range first {
		if m.parcels[i].unsure {
			letters = nil
			break
		}
		letters[k] = m.letterOf(i)
	}
	if letters == nil || !s.enterAll(ctx, letters) {
		for _, i := range first {
			m.send(ctx, i)
		}
		return
	}
	c, one := m.log.pub.conn(), &m.parcels[first[0]]
	one.begin(m.log, m.app)
	m.left += len(first)
	for k, i := range first {
		p, l := &m.parcels[i], &letters[k]
		p.beginWith(one)
		m.letters[i] = l
		if err := s.sent(l, s.deliver(c, p.m, l)); err != nil {
			l.err = err
			m.ended <- l
		}
	}
}

func (m *many) letterOf(i int) letter {
	return letter{stream: m.app.stream, ended: m.ended, index: i, weight: weight(m.parcels[i].size)}
}

// send sends an event for the first time.
func (m *many) send(ctx context.Context, i int) {
	p := &m.parcels[i]
	if p.unsure {
		m.left++
		m.place(ctx, i)
		return
	}
	p.begin(m.log, m.app)
	l := m.letterOf(i)
	if m.letters != nil {
		m.letters[i] = &l
	}
	m.left++
	if err := m.log.send.send(ctx, p.m, &l); err != nil {
		l.err = err
		m.ended <- &l
	}
}

// wait waits for one event, and takes what else has ended.
func (m *many) wait(ctx context.Context) {
	done := ctx.Done()
	if m.letters == nil {
		done = nil // those that are left see it by themselves
	}
	select {
	case l := <-m.ended:
		m.answered(ctx, l)
		for n := len(m.ended); n > 0; n-- {
			m.answered(ctx, <-m.ended)
		}
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
	p, i := &m.parcels[l.index], l.index
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
		receipt, err := m.log.place(ctx, m.app, &m.parcels[i])
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
