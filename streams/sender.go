package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// sendingBytes bounds what was sent and is not acknowledged; a message counts at least
	// sendingLeast, so that the number is bounded as well. Who has more to send waits.
	sendingBytes, sendingLeast = 64 << 20, 4 << 10
	// maxSending is the number that follows from it.
	maxSending = sendingBytes / sendingLeast
)

// sender sends the messages that JetStream is to store, all over one connection, and finds
// the acknowledgement of each by the subject of its answer. It has one goroutine, whatever
// the number of messages under way. Those that come together are written together; one that
// comes alone waits for none.
//
// The library has a publisher of this kind. It stops for good with a connection that is
// closed for good, has no bound in bytes, and a timer for each message.
type sender struct {
	link  *link
	room  *semaphore.Weighted
	inbox string // what the subjects of answers begin with
	in    chan *nats.Msg
	// turn is held by who sends a batch.
	turn chan struct{}

	mu      rank.Mutex[rank.StreamsSender]
	number  uint64
	waiting map[uint64]*letter
	// oldest and newest are the ends of a list of them. All wait equally long.
	oldest, newest *letter
	// timer runs while armed, which is longer than there are letters: it is not worth
	// stopping it for each.
	timer  *time.Timer
	armed  bool
	closed bool
}

// letter is a message that was sent. Its acknowledgement, or why there is none, comes with it
// in ended.
type letter struct {
	number uint64
	stream string // that is to acknowledge it
	due    time.Time
	weight int64
	before *letter
	after  *letter
	ended  chan<- *letter

	// index is the place of the message among those of its sender.
	index int
	ack   ack
	err   error
}

// ack is what JetStream says of a message that it has stored.
type ack struct {
	stream    string
	offset    uint64
	duplicate bool
	// count is the number of messages, if it was a batch.
	count int
}

// newSender makes the sender of a connection, which must be there.
func newSender(k *link) (*sender, error) {
	s := &sender{
		link: k, room: semaphore.NewWeighted(sendingBytes), inbox: k.conn().NewInbox() + ".",
		in: make(chan *nats.Msg, maxSending), waiting: map[uint64]*letter{}, turn: make(chan struct{}, 1),
	}
	s.timer = time.AfterFunc(time.Hour, s.expire)
	_, err := k.stand(s.inbox+"*", s.in, nil)
	return s, err
}

// run takes in answers until the log is closed.
func (s *sender) run() {
	done := s.link.log.ctx.Done()
	for {
		select {
		case m := <-s.in:
			s.take(m)
		case <-done:
			s.close()
			return
		}
	}
}

// close ends all that wait.
func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	s.timer.Stop()
	s.mu.Unlock()
	s.end(func(*letter) bool { return true }, nats.ErrConnectionClosed)
}

// take gives an answer to the letter that it is for. One that comes too late is for none.
func (s *sender) take(m *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, s.inbox), 36, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	l := s.waiting[number]
	if l != nil {
		s.remove(l)
	}
	s.mu.Unlock()
	if l != nil {
		l.ack, l.err = readAck(m, l.stream)
		s.tell(l)
	}
}

// send sends one message. Its letter comes in ended, which must have room for it, unless it is
// forgotten before. It waits for room; an error says that it was not sent.
func (s *sender) send(ctx context.Context, m *nats.Msg, l *letter) error {
	l.weight = min(max(int64(m.Size()), sendingLeast), sendingBytes)
	if err := s.room.Acquire(ctx, l.weight); err != nil {
		return err
	}
	if !s.enter(l) {
		s.room.Release(l.weight)
		return nats.ErrConnectionClosed
	}
	err := s.deliver(s.link.conn(), m, l)
	if err != nil && !s.forget(l) {
		return nil // it has ended already, as the log was closed
	}
	return err
}

// deliver gives a message to a connection, with the subject for its answer.
func (s *sender) deliver(c *nats.Conn, m *nats.Msg, l *letter) error {
	m.Reply = s.inbox + strconv.FormatUint(l.number, 36)
	err := c.PublishMsg(m)
	m.Reply = ""
	return err
}

// enter has a letter wait, unless the log is closed.
func (s *sender) enter(l *letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.number++
	l.number, l.due = s.number, time.Now().Add(attemptTimeout)
	s.waiting[l.number] = l
	if l.before = s.newest; l.before != nil {
		l.before.after = l
	} else {
		s.oldest = l
	}
	s.newest = l
	if !s.armed {
		s.armed = true
		s.timer.Reset(attemptTimeout)
	}
	return true
}

// remove ends the waiting of a letter. The lock is held.
func (s *sender) remove(l *letter) {
	delete(s.waiting, l.number)
	if l.before != nil {
		l.before.after = l.after
	} else {
		s.oldest = l.after
	}
	if l.after != nil {
		l.after.before = l.before
	} else {
		s.newest = l.before
	}
	l.before, l.after = nil, nil
}

// tell ends a letter that does not wait any more.
func (s *sender) tell(l *letter) {
	s.room.Release(l.weight)
	l.ended <- l
}

// forget has a letter wait no longer. It says false if it has ended, or is about to.
func (s *sender) forget(l *letter) bool {
	s.mu.Lock()
	waits := s.waiting[l.number] == l
	if waits {
		s.remove(l)
	}
	s.mu.Unlock()
	if waits {
		s.room.Release(l.weight)
	}
	return waits
}

// expire ends the letters that have waited too long.
func (s *sender) expire() {
	now := time.Now()
	s.end(func(l *letter) bool { return !l.due.After(now) }, context.DeadlineExceeded)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed = s.oldest != nil && !s.closed; s.armed {
		s.timer.Reset(time.Until(s.oldest.due))
	}
}

// end ends the oldest letters with an error, as long as they are to be ended.
func (s *sender) end(which func(*letter) bool, err error) {
	var ended []*letter
	s.mu.Lock()
	for s.oldest != nil && which(s.oldest) {
		ended = append(ended, s.oldest)
		s.remove(s.oldest)
	}
	s.mu.Unlock()
	for _, l := range ended {
		l.err = err
		s.tell(l)
	}
}

// ask sends one message and waits for the answer, for attemptTimeout at most.
func (s *sender) ask(ctx context.Context, m *nats.Msg, stream string) (ack, error) {
	ended := make(chan *letter, 1)
	l := &letter{stream: stream, ended: ended}
	if err := s.send(ctx, m, l); err != nil {
		return ack{}, err
	}
	return s.wait(ctx, l, ended)
}

// wait waits for the end of a letter.
func (s *sender) wait(ctx context.Context, l *letter, ended <-chan *letter) (ack, error) {
	select {
	case <-ended:
	case <-ctx.Done():
		if s.forget(l) {
			return ack{}, ctx.Err()
		}
		<-ended
	}
	return l.ack, l.err
}

// askTogether sends messages that are one batch, of which the server acknowledges the last, and
// waits as ask does. Batches are sent one after the other: a server bounds how many it has begun
// to take in for a stream.
func (s *sender) askTogether(ctx context.Context, all []*nats.Msg, stream string) (ack, error) {
	ended := make(chan *letter, 1)
	l := &letter{stream: stream, ended: ended}
	for _, m := range all {
		l.weight += max(int64(m.Size()), sendingLeast)
	}
	l.weight = min(l.weight, sendingBytes)
	if err := s.room.Acquire(ctx, l.weight); err != nil {
		return ack{}, err
	}
	if err := s.sendTogether(ctx, all, l); err != nil {
		return ack{}, err
	}
	return s.wait(ctx, l, ended)
}

// sendTogether sends a batch when it is its turn. An error says that it cannot be stored.
func (s *sender) sendTogether(ctx context.Context, all []*nats.Msg, l *letter) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		s.room.Release(l.weight)
		return ctx.Err()
	}
	if !s.enter(l) {
		s.room.Release(l.weight)
		return nats.ErrConnectionClosed
	}
	c, n := s.link.conn(), len(all)-1
	var err error
	for _, m := range all[:n] {
		if err = c.PublishMsg(m); err != nil {
			break
		}
	}
	if err == nil {
		err = s.deliver(c, all[n], l)
	}
	if err != nil && !s.forget(l) {
		return nil // it has ended already
	}
	return err
}

// statusHeader is that in which the library puts the status of an answer, and noResponders is
// that of a server which has nobody for a subject.
const statusHeader, noResponders = "Status", "503"

// readAck reads an answer. stream is the one that is expected to give it.
func readAck(m *nats.Msg, stream string) (ack, error) {
	if len(m.Data) == 0 && last(m.Header, statusHeader) == noResponders {
		return ack{}, jetstream.ErrNoStreamResponse
	}
	if a, ok := plainAck(string(m.Data), stream); ok {
		return a, nil
	}
	var answer struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Count     int                 `json:"count"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return ack{}, jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		return ack{}, fmt.Errorf("nats: %w", answer.Error)
	case answer.Stream == "":
		return ack{}, jetstream.ErrInvalidJSAck
	}
	return ack{answer.Stream, answer.Sequence, answer.Duplicate, answer.Count}, nil
}

// plainAck reads an answer in the form that servers give to nearly all messages.
func plainAck(text, stream string) (ack, bool) {
	const start, middle, again = `{"stream":"`, `", "seq":`, `,"duplicate": true}`
	rest, ok := strings.CutPrefix(text, start)
	if !ok {
		return ack{}, false
	}
	if rest, ok = strings.CutPrefix(rest, stream); !ok {
		return ack{}, false
	}
	if rest, ok = strings.CutPrefix(rest, middle); !ok {
		return ack{}, false
	}
	end := strings.IndexAny(rest, ",}")
	if end < 0 || rest[end:] != "}" && rest[end:] != again {
		return ack{}, false
	}
	offset, err := strconv.ParseUint(rest[:end], 10, 64)
	return ack{stream: stream, offset: offset, duplicate: rest[end:] == again}, err == nil
}
