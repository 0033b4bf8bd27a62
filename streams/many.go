package streams

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

// many publishes several events together, in the goroutine of the caller. If the server supports it, it stores them as an
// atomic batch (together.go). Otherwise the first events of all channels are sent at the same time. The events of one
// channel are sent one after the other, because a retry could overtake a later one. Channels do not wait for each other.
type many struct {
	log      *Log
	app      *appLog
	parcels  []parcel
	receipts []broker.Receipt
	// next has for each event the index of the next event of the same channel, 0 for none.
	next []int
	// letters has the first attempts under way, which arrive in ended. Events that need more than one attempt arrive in
	// placed.
	letters []*letter
	ended   chan *letter
	placed  chan placed
	// left is the number of events under way.
	left   int
	failed error
	// trouble says that an event could not be looked up at once.
	trouble bool
}

// placed is the result for one event.
type placed struct {
	index   int
	receipt broker.Receipt
	err     error
}

// publishMany publishes events and sets their receipts.
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

// few is the number of events up to which comparing all pairs is faster than a map.
const few = 32

// lineUp computes next, and returns the indexes of the first events of all channels in order.
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

// sendFirst sends the first events of all channels. It sends them together if there is room for all of them and none may
// be stored already.
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

// wait waits for one event to end, and processes all that have ended.
func (m *many) wait(ctx context.Context) {
	done := ctx.Done()
	if m.letters == nil {
		done = nil // the remaining attempts end with ctx by themselves
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

// answered continues with an event whose first attempt has ended. Usually the event is stored, and another one vouches for
// it. Everything else may take longer and is done in a goroutine, so that other events do not wait.
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

// place calls [Log.place] for an event in a goroutine. The goroutine ends with ctx, and publishMany waits for it.
func (m *many) place(ctx context.Context, i int) {
	go func() {
		receipt, err := m.log.place(ctx, m.app, &m.parcels[i])
		m.placed <- placed{i, receipt, err}
	}()
}

// sure reports whether an event is known to be in its place.
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

// end records the result of an event, and sends the next one of its channel.
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
