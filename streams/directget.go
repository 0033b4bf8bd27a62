package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// pageSize is the usual number of messages of one direct get. The server holds the lock of the stream while it reads a page
// and passes over the messages of other channels, so larger pages delay every publisher. But for each page it also counts
// the messages that follow, which takes as long as reading some hundred messages. So pages have up to widePage messages
// where those of a channel lie close together, and up to aheadMessages for readers that continue, see [ahead].
const pageSize, widePage = 50, 250

// passed is about the number of messages of the stream that one page may cover.
const passed = 16 << 10

// answerBytes bounds the answer to one direct get; the server may exceed it by one message. Without this bound, a few
// concurrent readings of large messages could exceed the pending bytes of a connection (64 MiB by default). The server
// would then close the connection of all readers.
const answerBytes = 2 << 20

// stored is one message of the log.
type stored struct {
	place
	header nats.Header
	data   []byte
	// unreadable is why the headers cannot be parsed, or empty.
	unreadable string
	// pub is the publication if the message comes from the cache, otherwise nil. With pub, header and data are nil, and
	// bytes is their former size.
	pub   *broker.Publication
	bytes int
}

// getRequest is the body of a direct get (JetStream API, `JSApiMsgGetRequest`).
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpToSeq   uint64     `json:"up_to_seq,omitempty"`
}

// errStale says that a replica answered that is behind.
var errStale = errors.New("the replica that answered is behind")

// reader reads the log with direct gets. It bounds the concurrent requests, so that reading does not delay publishing.
type reader struct {
	link *link
	api  string // the API prefix: "$JS.API." or that of a domain
	// timeout is the longest silence within an answer. To give up an answer that is still arriving, and ask again, would
	// make more and more data wait for the connection.
	timeout time.Duration
	// naming is how long a server may take to list all subjects of a stream, of which there may be millions.
	naming time.Duration
	slots  *broker.Share // by stream
	// asking bounds the messages that are read again from the leader, by stream.
	asking *broker.Share
}

// fetch sends one request and collects the answer. An answer without its end marker is an error, never a short page.
func (r *reader) fetch(ctx context.Context, stream string, q getRequest) ([]stored, error) {
	got, err := r.collect(ctx, stream, q)
	if err == nil && got.unseen > 0 {
		got.messages, err = r.complete(ctx, stream, q, got)
	}
	return got.messages, err
}

// answer is the answer to a direct get. A message whose place could not be read has no place yet; unseen counts these.
// pending is the number of messages after the last one. If the newest messages of subjects were requested, upTo is the
// last sequence of the replica that answered, unless it has none of them, and cut says that it ended early because it
// found one of them removed.
type answer struct {
	messages []stored
	unseen   int
	pending  uint64
	upTo     uint64
	cut      bool
}

func (r *reader) collect(ctx context.Context, stream string, q getRequest) (got answer, err error) {
	done, err := r.slots.Take(ctx, stream)
	if err != nil {
		return got, err
	}
	defer done()
	single := q.Batch == 0 && len(q.MultiLast) == 0
	if !single {
		q.MaxBytes = answerBytes
	}
	body, err := json.Marshal(q)
	if err != nil {
		return got, err
	}
	// The inbox must not be below the one of the library's requests: every reply would arrive twice.
	conn := r.link.conn()
	inbox := conn.NewInbox()
	// There is room for the page and its end marker; more cannot arrive.
	replies := make(chan *nats.Msg, max(q.Batch, len(q.MultiLast), 1)+2)
	sub, err := conn.ChanSubscribe(inbox, replies)
	if err != nil {
		return got, unavailable("reading the log", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	request := &nats.Msg{Subject: r.api + "DIRECT.GET." + stream, Reply: inbox, Data: body}
	if err := conn.PublishMsg(request); err != nil {
		return got, unavailable("reading the log", err)
	}
	subject := q.subject()
	silence := time.NewTimer(r.timeout)
	defer silence.Stop()
	for ; ; silence.Reset(r.timeout) {
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-silence.C:
			return got, unavailable("reading the log", errors.New("the answer did not come to its end"))
		case m := <-replies:
			p, err := placeOf(m, stream, subject)
			// A stored message may have a Status header of its own. Only a reply without a sequence is a status.
			if errors.Is(err, errPlaceless) {
				got.end(m, &q)
				return got, status(m)
			}
			if err != nil || !q.next(got.messages, p) {
				p = place{}
				got.unseen++
			}
			got.messages = append(got.messages, stored{place: p, header: m.Header, data: m.Data})
			if single {
				return got, nil
			}
		}
	}
}

// end parses the end marker.
func (a *answer) end(m *nats.Msg, q *getRequest) {
	a.pending, _ = strconv.ParseUint(last(m.Header, "Nats-Num-Pending"), 10, 64)
	a.upTo, _ = strconv.ParseUint(last(m.Header, "Nats-UpTo-Sequence"), 10, 64)
	a.cut = len(q.MultiLast) > 0 && last(m.Header, "Status") == "404" &&
		(len(a.messages) > 0 || last(m.Header, "Description") == "Message Not Found")
}

// subject returns the requested subject, empty if there may be several.
func (q *getRequest) subject() string {
	if s := q.LastFor + q.NextFor; !strings.ContainsAny(s, "*>") {
		return s
	}
	return ""
}

// next reports whether a place may follow the messages before it.
func (q *getRequest) next(before []stored, p place) bool {
	least := q.Seq
	if len(before) > 0 {
		least = max(least, before[len(before)-1].offset+1)
	}
	return p.offset >= least
}

// status returns the error of an end marker, nil if it has none.
func status(m *nats.Msg) error {
	switch code := last(m.Header, "Status"); code {
	case "204", "404":
		return nil
	case "":
		return unavailable("reading the log", errors.New("a reply had neither a sequence nor a status"))
	default:
		n, err := strconv.Atoi(code)
		if err != nil {
			n = 500
		}
		return unavailable("reading the log", &jetstream.APIError{Code: n, Description: "status " + code + " " + last(m.Header, "Description")})
	}
}

// page reads up to n messages of a subject from an offset on; fewer if they are large. pending of the last one says whether
// there are more.
func (r *reader) page(ctx context.Context, stream, subject string, from uint64, n int) ([]stored, error) {
	return r.fetch(ctx, stream, getRequest{Seq: max(from, 1), NextFor: subject, Batch: min(n, aheadMessages)})
}

// endings are the places of the newest messages of subjects, up to the offset upTo. If cut is true, a subject that is missing
// may have messages.
type endings struct {
	places []place
	upTo   uint64
	cut    bool
}

// places returns the places of the newest messages of subjects that have any.
func (r *reader) places(ctx context.Context, stream string, subjects []string) (out endings, err error) {
	q := getRequest{MultiLast: subjects}
	out.upTo = maxOffset
	for len(out.places) < len(subjects) {
		got, err := r.collect(ctx, stream, q)
		if err == nil && got.unseen > 0 {
			got.messages, err = r.complete(ctx, stream, q, got)
		}
		if err != nil {
			return out, err
		}
		out.upTo, out.cut = min(out.upTo, got.upTo), got.cut
		for _, m := range got.messages {
			out.places = append(out.places, m.place)
			q.Seq = max(q.Seq, m.offset+1)
		}
		if len(got.messages) == 0 || got.cut {
			return out, nil
		}
	}
	return out, nil
}

// newest reads the newest message of a subject, and reports false if there is none.
func (r *reader) newest(ctx context.Context, stream, subject string) (stored, bool, error) {
	got, err := r.fetch(ctx, stream, getRequest{LastFor: subject})
	if err != nil || len(got) == 0 {
		return stored{}, false, err
	}
	return got[0], true, nil
}

// leaderReply is the answer to STREAM.MSG.GET.
type leaderReply struct {
	Error   *jetstream.APIError `json:"error"`
	Message *leaderMessage      `json:"message"`
}

type leaderMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Headers []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
}

// leaderGet reads a message from the leader of the stream, whose answer is never stale. While servers elect a leader, there
// may be no answer, see [impatient].
func (r *reader) leaderGet(ctx context.Context, stream string, q getRequest) (stored, bool, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return stored{}, false, err
	}
	conn := r.link.conn()
	waiting, cancel := impatient(ctx, r.timeout, func() uint64 { return conn.Stats().InBytes })
	defer cancel()
	m, err := conn.RequestWithContext(waiting, r.api+"STREAM.MSG.GET."+stream, body)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		err = context.DeadlineExceeded // the caller still waits
	}
	if err != nil {
		return stored{}, false, unavailable("asking the leader", err)
	}
	var reply leaderReply
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return stored{}, false, unavailable("asking the leader", err)
	}
	switch {
	case reply.Error != nil && reply.Error.Code == 404 && reply.Error.ErrorCode != streamNotFound:
		return stored{}, false, nil
	case reply.Error != nil && reply.Error.ErrorCode == streamNotFound:
		return stored{}, false, unavailable("asking the leader", fmt.Errorf("%w: %s", errNoStream, reply.Error.Description))
	case reply.Error != nil:
		return stored{}, false, unavailable("asking the leader", reply.Error)
	case reply.Message == nil:
		return stored{}, false, unavailable("asking the leader", errors.New("the answer holds no message"))
	}
	return r.read(stream, reply.Message), true, nil
}

// streamNotFound is JetStream's error code for a stream that does not exist.
const streamNotFound = 10059

var errNoStream = errors.New("the stream does not exist")

// unavailable wraps a failure that may be temporary.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", broker.ErrUnavailable, doing, err)
}
