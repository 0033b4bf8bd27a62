package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// message is a live message of the toy log.
type message struct{ offset, prev uint64 }

// toy is a log of numbers whose answers wait until the test releases them.
type toy struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stats   Counters
	feed    *Feed[message]
	woken   int

	mu      sync.Mutex
	stored  []uint64
	begins  chan error
	answers chan func(*toyLine) (func() Found, error)
	asked   []string
	ended   int
	begun   int
}

func newToy(repairs int) *toy {
	y := &toy{begins: make(chan error, 8), answers: make(chan func(*toyLine) (func() Found, error), 8)}
	y.ctx, y.cancel = context.WithCancel(context.Background())
	y.feed = NewFeed(Options[message]{
		Context: y.ctx, Go: y.running.Go, Shards: 2, Repairs: broker.NewShare(repairs), RepairTimeout: time.Minute,
		Wake: func() { y.woken++ }, Logger: slog.New(slog.DiscardHandler),
		Line: func(f *Follower[message]) Line[message] { return &toyLine{Follower: f, toy: y} },
	}, &y.stats)
	return y
}

func (y *toy) close() {
	y.cancel()
	y.feed.Close()
	y.running.Wait()
}

func (y *toy) note(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.asked = append(y.asked, what)
}

// newest returns the last stored number, 0 if there is none.
func (y *toy) newest() uint64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.stored) == 0 {
		return 0
	}
	return y.stored[len(y.stored)-1]
}

type toyLine struct {
	*Follower[message]
	toy *toy
}

func (l *toyLine) Begin(ctx context.Context) error {
	l.toy.note("begin " + l.Channel)
	l.toy.mu.Lock()
	l.toy.begun++
	l.toy.mu.Unlock()
	select {
	case err := <-l.toy.begins:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	l.Lock()
	defer l.Leave()
	newest := l.toy.newest()
	l.Start(broker.Position{Epoch: "e", Offset: newest}, newest == 0)
	return nil
}

func (l *toyLine) End() {
	l.toy.mu.Lock()
	defer l.toy.mu.Unlock()
	l.toy.ended++
}

func (l *toyLine) receive(m message) {
	if l.Enter(m, 1) {
		l.accept(m)
		l.Leave()
	}
}

func (l *toyLine) Accept(held []message) {
	for _, m := range held {
		l.accept(m)
	}
}

func (l *toyLine) accept(m message) {
	switch last := l.At().Offset; {
	case !l.Following():
		l.Hold(m, 1)
	case m.offset <= last:
	case m.prev > last:
		l.Hold(m, 1)
		l.Repair(Read)
	default:
		l.give(m.offset)
	}
}

func (l *toyLine) give(offset uint64) {
	l.Give(&broker.Publication{Position: broker.Position{Epoch: l.At().Epoch, Offset: offset}})
}

func (l *toyLine) look(ctx context.Context, what string) (func() Found, error) {
	l.toy.note(what + " " + l.Channel)
	select {
	case answer := <-l.toy.answers:
		return answer(l)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *toyLine) Read(ctx context.Context) (func() Found, error)    { return l.look(ctx, "read") }
func (l *toyLine) Ask(ctx context.Context) (func() Found, error)     { return l.look(ctx, "ask") }
func (l *toyLine) Inquire(ctx context.Context) (func() Found, error) { return l.look(ctx, "inquire") }

func (l *toyLine) GiveUp() {
	at := l.At()
	if held := l.Held(); len(held) > 0 {
		at.Offset = held[0].prev
	}
	l.Gap(at, broker.GapUnavailable)
	l.Resume()
}

var errAway = errors.New("the log is away")

// page answers with the stored numbers above the position, up to n.
func page(n int) func(*toyLine) (func() Found, error) {
	return func(l *toyLine) (func() Found, error) {
		return func() Found {
			l.toy.mu.Lock()
			stored := slices.Clone(l.toy.stored)
			l.toy.mu.Unlock()
			given := 0
			for _, offset := range stored {
				if offset <= l.At().Offset {
					continue
				}
				if given == n {
					return Progress
				}
				l.give(offset)
				given++
			}
			l.Resume()
			return Complete
		}, nil
	}
}

// recorder records what it gets, and may be made to block.
type recorder struct {
	name string
	hold chan struct{}

	mu   sync.Mutex
	told []string
}

func (r *recorder) note(what string) {
	r.mu.Lock()
	r.told = append(r.told, what)
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

func (r *recorder) Publication(p *broker.Publication) {
	r.note(fmt.Sprintf("%s gets %d of %s", r.name, p.Offset, p.Epoch))
}

func (r *recorder) Gap(g broker.Gap) {
	r.note(fmt.Sprintf("%s is told of a gap %d of %s to %d of %s, %s", r.name, g.After.Offset, g.After.Epoch, g.Resume.Offset, g.Resume.Epoch, g.Reason))
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	return told
}
