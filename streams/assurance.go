package streams

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// assurance makes sure that what the server acknowledged is in the log under its own
// subject. With some settings, which anybody may set who administers NATS, it is not. The
// settings are put back soon, and until then an event that was looked up vouches for those
// that are acknowledged within a moment.
type assurance struct {
	// good is until when nothing is looked up, in Unix nanoseconds.
	good atomic.Int64
	// since counts the acknowledgements that were not looked up since one that was.
	since atomic.Int64
}

const (
	// sureFor is how long an event that was looked up vouches for others.
	sureFor = 50 * time.Millisecond
	// sureTimeout bounds looking up. An acknowledged event is not held back by a log that
	// cannot be read.
	sureTimeout = time.Second
	// sureTries is how often an event is stored anew that is not where it belongs.
	sureTries = 5
)

// assured says whether an acknowledged message is in the log, as far as that can be known.
func (l *Log) assured(ctx context.Context, a *appLog, m *nats.Msg, offset uint64) bool {
	now := time.Now()
	if now.UnixNano() < a.sure.good.Load() {
		a.sure.since.Add(1)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	got, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{Seq: offset})
	if err == nil && (found && got.subject != m.Subject || !found && !l.gone(ctx, a, m, offset)) {
		a.sure.good.Store(0)
		if n := a.sure.since.Swap(0); n > 0 {
			l.stats.misplaced.Add(uint64(n))
			l.opt.Logger.Error("events were acknowledged while NATS did not store them in their channels; some of them may be lost",
				"stream", a.stream, "events at most", n)
		}
		return false
	}
	a.sure.good.Store(time.Now().Add(sureFor).UnixNano())
	a.sure.since.Store(0)
	return true
}

// gone says whether retention may have removed a message that was just acknowledged: newer
// ones of its channel, or of a stream that is full, have taken its place.
func (l *Log) gone(ctx context.Context, a *appLog, m *nats.Msg, offset uint64) bool {
	newest, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{LastFor: m.Subject})
	if err != nil || found && newest.offset > offset {
		return true
	}
	info, err := l.streamInfo(ctx, a)
	if err != nil {
		return true
	}
	full := info.Config.MaxBytes > 0 && info.State.Bytes > uint64(info.Config.MaxBytes)/2
	return full && info.State.Msgs > 0 && info.State.FirstSeq > offset
}

// anew puts the settings of a stream back and returns a message to be stored in the place
// of one that was misplaced, of which the server knows the id.
func (l *Log) anew(ctx context.Context, a *appLog, m *nats.Msg) (*nats.Msg, error) {
	if err := l.refresh(ctx, a, ""); err != nil {
		return nil, unavailable("putting back the settings of the stream "+a.stream, err)
	}
	l.stats.restored.Add(1)
	fresh := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: maps.Clone(m.Header)}
	fresh.Header[nats.MsgIdHdr] = []string{nuid.Next()}
	return fresh, nil
}
