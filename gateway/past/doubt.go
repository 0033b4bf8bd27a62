package past

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Doubt is a position that is being judged: whether a subscription can resume from it.
type Doubt struct {
	of *Recent
	at pusher.ResumePosition
	// code is why the position is refused already, reason the same in words.
	code   pusher.FailureCode
	reason string
	// ahead: the position is above everything that arrived here.
	ahead bool
	log   *Look
}

// Doubt judges a position by memory, and starts a look at the log if that is not enough. began is the offset
// at which the subscription was first live. If r is nil, the channel has no past, and nothing can be resumed.
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

// Crowded returns the refusal of a position that cannot wait for the subscription of its channel, because too
// many positions wait already.
func Crowded(at pusher.ResumePosition) Doubt {
	return Doubt{at: at, code: pusher.ContinuityUnverifiable, reason: "too many positions of this connection wait for subscriptions"}
}

// Judge waits for the look at the log, or until ctx is done. It returns a failure if the position certainly
// cannot be resumed, and nil if it may be possible.
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
			// It may be where the log ended when another gateway began to follow the channel.
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

// continues returns an error if not everything after a position may be seen, as [sight.View.After] does. It
// does not read the log if memory has all of it.
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

// follows returns the offset of the publication that follows a place, 0 for none. known says that memory has
// everything since that place.
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
