package past

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Doubt is what is to be found out about a position that somebody wants to resume from.
type Doubt struct {
	of *Recent
	at pusher.ResumePosition
	// code is why it is refused already, reason in words.
	code   pusher.FailureCode
	reason string
	// ahead: it lies above everything that came here.
	ahead bool
	log   *Look
}

// Doubt says what is plain about a position, and has the log looked at if that is not enough.
// began is where the subscription was live first. Of a channel without a past, which is nil, nothing can
// be resumed.
func (r *Recent) Doubt(at pusher.ResumePosition, began uint64) Doubt {
	if r == nil {
		return Doubt{at: at}
	}
	d := Doubt{of: r, at: at}
	ahead, missed, missedBytes := r.Distance(at.Serial, began)
	most := r.app.Now().Recovery
	switch d.ahead = ahead; {
	case at.StreamID == "":
		d.code, d.reason = pusher.ContinuityUnverifiable, "the position names no stream"
	case at.StreamID != r.life():
		d.code, d.reason = pusher.StreamReset, "the stream of the position has ended"
	case missed > most.MaxEvents || missedBytes > most.MaxBytes:
		d.code = pusher.PositionExpired
		d.reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", most.MaxEvents, most.MaxBytes)
	case !ahead && r.app.Now().Readings.Of(r.line.Name) == app.Reading{}:
		return d
	}
	d.log = r.Look()
	return d
}

// Crowded is a position that cannot wait for the subscription of its channel, because too many
// do already.
func Crowded(at pusher.ResumePosition) Doubt {
	return Doubt{at: at, code: pusher.ContinuityUnverifiable, reason: "too many positions of this connection wait for subscriptions"}
}

// Judge waits until the log was looked at, or ctx is done, and refuses a position of which it is plain
// that it cannot be resumed; nil if it may be.
func (d Doubt) Judge(ctx context.Context) *pusher.ResumeFailure {
	switch {
	case d.of == nil && d.code != "":
		return &pusher.ResumeFailure{Channel: d.at.Channel, Expected: d.at.StreamID, Code: d.code, Reason: d.reason}
	case d.of == nil:
		return &pusher.ResumeFailure{Channel: d.at.Channel, Code: pusher.PersistenceUnavailable, Reason: "this channel has no past"}
	case d.log == nil:
		return nil
	}
	f := &pusher.ResumeFailure{Channel: d.of.line.Name, Expected: d.at.StreamID, Current: d.of.life(), Code: d.code, Reason: d.reason}
	now, err := d.log.Wait(ctx)
	if err == nil {
		f.Oldest, f.Newest = now.Seen.Oldest, now.Seen.Newest
		switch {
		case f.Code != "":
		case d.ahead && now.Kept.Messages == 0:
			// It is where the log ended when somebody followed the channel elsewhere.
			err = d.log.reaches(ctx, broker.Position{Epoch: d.at.StreamID, Offset: d.at.Serial})
		case d.ahead && d.at.Serial > now.Kept.Newest:
			f.Code, f.Reason = pusher.ContinuityUnverifiable, fmt.Sprintf("serial %d is above the newest, %d", d.at.Serial, now.Kept.Newest)
		case !d.ahead:
			err = d.of.continues(ctx, now, broker.Position{Epoch: d.at.StreamID, Offset: d.at.Serial})
		}
	}
	switch {
	case f.Code != "":
		return f
	case err != nil:
		return d.of.Failure(d.at.StreamID, err)
	}
	return nil
}

// continues says whether all that follows a position may be seen, as the errors of
// [sight.View.After] do. Memory answers if it has all of it.
func (r *Recent) continues(ctx context.Context, now State, pos broker.Position) error {
	next, known := r.follows(pos.Offset)
	switch {
	case !known:
		return now.follows(ctx, pos)
	case next > 0 && !now.Sees(next):
		return fmt.Errorf("%w: what follows %d may not be read", broker.ErrPositionExpired, pos.Offset)
	}
	return nil
}

// follows is the publication that follows a place, 0 for none; known says that memory has all
// that came since.
func (r *Recent) follows(place uint64) (offset uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place > r.backlog.High() || !r.backlog.Covers(place) {
		return 0, false
	}
	if all, _ := r.backlog.AppendAfter(nil, place, 1); len(all) > 0 {
		offset = all[0].Pub.Offset
	}
	return offset, true
}
