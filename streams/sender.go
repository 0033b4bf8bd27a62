package streams

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// sendingBytes bounds what was sent and is not acknowledged; a message counts at least
	// sendingLeast, so that the number is bounded as well. Who has more to send waits.
	sendingBytes, sendingLeast = 64 << 20, 4 << 10
	// maxSending is the number that follows from it.
	maxSending = sendingBytes / sendingLeast
	// maxTaken is how many answers are taken in at a time.
	maxTaken = 64
)

// sender sends the messages that JetStream is to store, all over one connection, and finds
// the acknowledgement of each by the subject of its answer. Who reads from the connection gives
// it to who waits for it: no goroutine is between them, whatever the number of messages under way. Those that come together are written together; one that
// comes alone waits for none.
//
// The library has a publisher of this kind. It stops for good with a connection that is
// closed for good, has no bound in bytes, and a timer for each message.
type sender struct {
	link *link
	// inbox and beside are what the subjects of answers begin with: of those that come over the
	// connection, and of those that come with the live messages, over that of the feed. It is
	// one packet and one wake-up less for an event that comes alone.
	inbox, beside string
	feed          *link
	in            chan *nats.Msg
	// turn is held by who sends a batch.
	turn chan struct{}

	mu      rank.Mutex[rank.StreamsSender]
	number  uint64
	waiting map[uint64]*letter
	// room is what may be sent beside them, and queue who waits for some of it, in turn.
	room  int64
	queue []*letter
	// oldest and newest are the ends of a list of them. All wait equally long.
	oldest, newest *letter
	// timer runs while armed, which is longer than there are letters: it is not worth
	// stopping it for each.
	timer  *time.Timer
	armed  bool
	closed bool
	// doubted is until when no answers come beside, because one did not come.
	doubted time.Time
}

// letter is a message that was sent. Its acknowledgement, or why there is none, comes with it
// in ended.
type letter struct {
	number uint64
	stream string // that is to acknowledge it
	due    time.Time
	weight int64
	beside bool // the answer is to come with the live messages
	before *letter
	after  *letter
	ended  chan<- *letter
	// ready is closed when there is room for one that had to wait for it.
	ready chan struct{}

	// index is the place of the message among those of its sender.
	index int
	ack   ack
	err   error
}

// newSender makes the sender of a connection, beside that of the feed. They must be there.
func newSender(k, feed *link) (*sender, error) {
	s := &sender{
		link: k, feed: feed, room: sendingBytes, inbox: k.conn().NewInbox() + ".", beside: feed.conn().NewInbox() + ".",
		in: make(chan *nats.Msg, maxSending), waiting: map[uint64]*letter{}, turn: make(chan struct{}, 1),
	}
	s.timer = time.AfterFunc(time.Hour, s.expire)
	k.whenRead(s.arrived)
	feed.whenRead(s.arrived)
	_, err := k.stand(s.inbox+"*", s.in, nil)
	if err == nil {
		_, err = feed.stand(s.beside+"*", s.in, nil)
	}
	return s, err
}

// arrived takes in the answers that have come.
func (s *sender) arrived() {
	var room [maxTaken]*nats.Msg
	for len(s.in) > 0 {
		some := room[:0]
		for none := false; !none && len(some) < maxTaken; {
			select {
			case m := <-s.in:
				some = append(some, m)
			default:
				none = true
			}
		}
		s.take(some)
	}
}

// close ends all that wait.
func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	s.timer.Stop()
	for _, l := range s.queue {
		l.err = nats.ErrConnectionClosed
		close(l.ready)
	}
	s.queue = nil
	s.mu.Unlock()
	s.end(func(*letter) bool { return true }, nats.ErrConnectionClosed)
}

// take gives up to maxTaken answers to the letters that they are for. One that comes too late is
// for none.
func (s *sender) take(some []*nats.Msg) {
	var room [maxTaken]*letter
	letters := room[:len(some)]
	s.mu.Lock()
	for i, m := range some {
		number, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
		if l := s.waiting[number]; err == nil && l != nil {
			s.remove(l)
			letters[i] = l
		}
	}
	s.mu.Unlock()
	for i, l := range letters {
		if l != nil {
			l.ack, l.err = readAck(some[i], l.stream)
			l.ended <- l
		}
	}
}

// send sends one message. Its letter, with its weight, comes in ended, which must have room for
// it, unless it is forgotten before. It waits for room; an error says that it was not sent.
func (s *sender) send(ctx context.Context, m *nats.Msg, l *letter) error {
	if err := s.enter(ctx, l); err != nil {
		return err
	}
	sparse, inbox := s.sparse(), s.inbox
	if sparse && s.feed.connected() && s.trusts(l) {
		inbox = s.beside
	}
	m.Reply = replyTo(inbox, l.number)
	err := s.link.publish(s.link.conn(), m, sparse)
	m.Reply = ""
	return s.sent(l, err)
}

// sent deals with an error of sending, which it returns if the letter was not sent.
func (s *sender) sent(l *letter, err error) error {
	if err != nil && !s.forget(l) {
		return nil // it has ended already, as the log was closed
	}
	return err
}

// weight is what a message of so many bytes counts.
func weight(size int) int64 { return min(max(int64(size), sendingLeast), sendingBytes) }

// deliver gives a message to a connection, with the subject for its answer.
func (s *sender) deliver(c *nats.Conn, m *nats.Msg, l *letter) error {
	m.Reply = replyTo(s.inbox, l.number)
	err := c.PublishMsg(m)
	m.Reply = ""
	return err
}

// replyTo is the subject for the answer to a letter.
func replyTo(inbox string, number uint64) string {
	var room [128]byte
	return string(strconv.AppendUint(append(room[:0], inbox...), number, 36))
}

// sparseLetters is how many messages may be under way while each is written by itself.
const sparseLetters = 4

// doubtFor is how long answers come over the own connection after one did not come beside: the
// feed may hang although it is connected, and each publish would wait for it.
const doubtFor = time.Minute

// trusts has the answer to a letter come beside, unless one did not lately.
func (s *sender) trusts(l *letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.beside = time.Now().After(s.doubted)
	return l.beside
}

// sparse says whether so little is under way that a message is not worth joining others, and that
// no answer waits behind a flood of live messages.
func (s *sender) sparse() bool {
	s.mu.Lock()
	few := len(s.waiting) <= sparseLetters
	s.mu.Unlock()
	return few && s.link.log.queues.Len() == 0
}

// forget has a letter wait no longer. It says false if it has ended, or is about to.
func (s *sender) forget(l *letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := s.waiting[l.number] == l
	if waits {
		s.remove(l)
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
		if ended = append(ended, s.oldest); s.oldest.beside {
			s.doubted = time.Now().Add(doubtFor)
		}
		s.remove(s.oldest)
	}
	s.mu.Unlock()
	for _, l := range ended {
		l.err = err
		l.ended <- l
	}
}

// ask sends one message of so many bytes and waits for the answer, for attemptTimeout at most.
func (s *sender) ask(ctx context.Context, m *nats.Msg, size int, stream string) (ack, error) {
	ended := make(chan *letter, 1)
	l := &letter{stream: stream, ended: ended, weight: weight(size)}
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
