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
	// sendingBytes bounds the unacknowledged messages. Each counts at least sendingLeast, which bounds their number as
	// well. Further messages wait for room.
	sendingBytes, sendingLeast = 64 << 20, 4 << 10
	// maxSending is the largest number of unacknowledged messages that follows from that.
	maxSending = sendingBytes / sendingLeast
	// maxTaken is the number of answers that are processed together.
	maxTaken = 64
)

// sender publishes messages to JetStream over one connection, and matches acknowledgements to messages by their reply
// subjects. The goroutine that reads from the connection hands each acknowledgement directly to the waiting publisher,
// whatever the number of messages under way. Messages that come together are written together. A message that comes
// alone is written at once.
//
// The library has an asynchronous publisher as well. It ends for good when its connection is closed, has no bound in
// bytes, and uses a timer for each message.
type sender struct {
	link *link
	// inbox and beside are prefixes of reply subjects: inbox for answers over the own connection, beside for answers
	// over the connection of the feed. For an event that comes alone, an answer together with its live message saves
	// one packet and one wake-up.
	inbox, beside string
	feed          *link
	in            chan *nats.Msg
	// turn is held by the goroutine that sends a batch.
	turn chan struct{}

	mu      rank.Mutex[rank.StreamsSender]
	number  uint64
	waiting map[uint64]*letter
	// room is how many bytes may still be sent. queue holds the letters that wait for room, in order.
	room  int64
	queue []*letter
	// oldest and newest are the ends of the list of waiting letters. All have the same timeout.
	oldest, newest *letter
	// timer runs while armed. It may run although no letter waits, because stopping it each time costs more.
	timer  *time.Timer
	armed  bool
	closed bool
	// doubted is the time until which beside is not used, because an answer over the feed did not arrive.
	doubted time.Time
}

// letter is a message that was sent. It is delivered to ended with its acknowledgement or error.
type letter struct {
	number uint64
	stream string // that must acknowledge it
	due    time.Time
	weight int64
	beside bool // the answer comes over the connection of the feed
	before *letter
	after  *letter
	ended  chan<- *letter
	// ready is closed when there is room for a letter that had to wait.
	ready chan struct{}

	// index is the index of the message in its batch.
	index int
	ack   ack
	err   error
}

// newSender returns a sender for the connection k, which also uses the connection of the feed. Both must be connected.
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

// arrived processes the answers that have arrived.
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

// close ends all waiting letters with an error.
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

// take matches up to maxTaken answers to their letters. It ignores answers that come too late.
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

// send sends one message, after waiting for room. The letter, whose weight must be set, is delivered to ended, which must
// have room for it, unless forget is called before. An error means that the message was not sent.
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

// sent handles an error of sending. It returns the error if the letter was not sent.
func (s *sender) sent(l *letter, err error) error {
	if err != nil && !s.forget(l) {
		return nil // the letter has ended already, because the log was closed
	}
	return err
}

// weight returns what a message of size bytes counts against sendingBytes.
func weight(size int) int64 { return min(max(int64(size), sendingLeast), sendingBytes) }

// deliver publishes a message with its reply subject on a connection.
func (s *sender) deliver(c *nats.Conn, m *nats.Msg, l *letter) error {
	m.Reply = replyTo(s.inbox, l.number)
	err := c.PublishMsg(m)
	m.Reply = ""
	return err
}

// replyTo returns the reply subject of a letter.
func replyTo(inbox string, number uint64) string {
	var room [128]byte
	return string(strconv.AppendUint(append(room[:0], inbox...), number, 36))
}

// sparseLetters is the number of messages under way up to which each is written at once.
const sparseLetters = 4

// doubtFor is how long beside is not used after an answer did not arrive there. The feed may hang although it is
// connected, and every publish would wait for it.
const doubtFor = time.Minute

// trusts reports whether the answer to a letter may come over the feed, and marks the letter accordingly.
func (s *sender) trusts(l *letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.beside = time.Now().After(s.doubted)
	return l.beside
}

// sparse reports whether so few messages are under way that joining them would not help, and no live messages wait, behind
// which an answer over the feed would be late.
func (s *sender) sparse() bool {
	s.mu.Lock()
	few := len(s.waiting) <= sparseLetters
	s.mu.Unlock()
	return few && s.link.log.queues.Len() == 0
}

// forget removes a waiting letter. It reports false if the letter has ended or is about to.
func (s *sender) forget(l *letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := s.waiting[l.number] == l
	if waits {
		s.remove(l)
	}
	return waits
}

// expire ends the letters that have timed out.
func (s *sender) expire() {
	now := time.Now()
	s.end(func(l *letter) bool { return !l.due.After(now) }, context.DeadlineExceeded)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed = s.oldest != nil && !s.closed; s.armed {
		s.timer.Reset(time.Until(s.oldest.due))
	}
}

// end ends the oldest letters with an error, as long as which is true.
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

// ask sends one message of size bytes and waits for the answer, for attemptTimeout at most.
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
