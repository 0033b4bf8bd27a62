package streams

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// The server recognizes a retry by its id within the deduplication window of the stream. An edit may have made the window
// shorter. Then a message that was stored without an acknowledgement would be stored twice. It is unknown for how long the
// window was shorter, so the message is searched for before a retry.

// begun is the known state of the log before an event is sent for the first time.
type begun struct {
	high uint64
	time time.Time
}

func (l *Log) begun(a *appLog) begun {
	return begun{high: a.known.high.Load(), time: l.Now()}
}

// alreadyMargin is how far the clock of the log may have been behind the time in begun.
const alreadyMargin = 5 * time.Second

// already searches for a message among those that were stored in its channel since the first attempt began.
func (l *Log) already(ctx context.Context, a *appLog, m *nats.Msg, since begun) (offset uint64, found bool, err error) {
	id, from := last(m.Header, nats.MsgIdHdr), since.high+1
	s := span{log: l, app: a, subject: m.Subject, page: pageSize}
	first, err := s.firstSince(ctx, since.time.Add(-alreadyMargin))
	if err != nil {
		return 0, false, err
	}
	if first < maxOffset {
		from = max(from, first)
	}
	for {
		page, err := l.reader.page(ctx, a.stream, m.Subject, from, pageSize)
		if err != nil {
			return 0, false, err
		}
		for _, one := range page {
			if last(one.header, nats.MsgIdHdr) == id {
				return one.offset, true, nil
			}
			from = one.offset + 1
		}
		if len(page) == 0 || page[len(page)-1].pending == 0 {
			break
		}
	}
	// The replica may be behind, so the leader is asked for the rest.
	for {
		one, more, err := l.reader.leaderGet(ctx, a.stream, getRequest{Seq: from, NextFor: m.Subject})
		if err != nil || !more {
			return 0, false, err
		}
		if last(one.header, nats.MsgIdHdr) == id {
			return one.offset, true, nil
		}
		from = one.offset + 1
	}
}
