package hub

import (
	"cmp"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// recoveryOf returns the recovery of a new connection, nil if it has none.
func recoveryOf(a *app.App, d pusher.Dialect) *recovery {
	if a == nil || d != pusher.V2 || !a.Recovery.Enabled {
		return nil
	}
	return &recovery{}
}

// recovery is what a connection needs to get missed publications. It belongs to the reading goroutine, except
// for the fields below the lock.
type recovery struct {
	// parked are positions of channels that the connection has not subscribed to yet.
	parked past.Parking
	// was is the id of the client's former socket, as the client says.
	was string
	// asked is set once the client has sent a resume: no subscription is held after that.
	asked bool

	mu rank.Mutex[rank.Holding]
	// held are the subscriptions that wait for a resume, and release is the timer that releases them.
	held    past.Hold
	release *time.Timer
}

// recovers reports whether the connection may get missed publications.
func (c *Client) recovers() bool { return c.recovery != nil }

// resume serves a resume request.
func (c *Client) resume(data string) {
	switch {
	case c.dialect != pusher.V2:
		c.deny(refusedRecovery, "", pusher.ErrorNoRecovery, "recovery is offered to connections of protocol 2 only")
		return
	case !c.recovers() || c.hub.opt.History == nil:
		c.deny(refusedRecovery, "", pusher.ErrorNoRecovery, "connection recovery is not enabled")
		return
	}
	wish, err := pusher.ParseResume(data, c.hub.limit.Load().MaxSubscriptions)
	if err != nil {
		c.letGo()
		c.deny(refusedRecovery, "", pusher.ErrorNoRecovery, "resume: %v", err)
		return
	}
	c.recovery.asked, c.recovery.was = true, wish.SocketID
	c.sock.Succeeds(wish.SocketID)
	var doubts []doubt
	for _, at := range wish.Positions {
		if m := c.membership(at.Channel); m != nil {
			doubts = append(doubts, c.doubt(m, at, wish.SocketID))
		} else if !c.park(at) {
			doubts = append(doubts, doubt{at: at, Doubt: past.Crowded(at)})
		}
	}
	c.resumeAll(doubts...)
	c.letGo()
}

// way returns the way of a subscription through the past, nil if the subscription is live at once.
func (c *Client) way(m *membership, wish *pusher.Rewind, resumes bool) (p *fanout.Way, err error) {
	silent := false
	switch {
	case wish != nil && !wish.Latest:
		ctx, cancel := c.hub.library.Patience()
		defer cancel()
		if p, err = c.rewind(ctx, m.channel, wish); err != nil {
			return nil, err
		}
		p = fanout.Traced(p, c.hub.opt.Tracer, "rewind")
	case wish != nil, !m.welcomed && c.instead(m.channel) != nil:
		p = fanout.Traced(c.snapshot(m.channel), c.hub.opt.Tracer, "snapshot")
	case m.welcomed:
		return nil, nil
	default:
		p, silent = &fanout.Way{Line: m.channel.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Kept: true, Ends: fanout.Silently{}}, true
	}
	p.Asked = wish != nil
	if c.waits(m) {
		// Live events follow those that the position brings.
		p.Held.Store(true)
	} else if !c.hold(p, resumes) && silent {
		return nil, nil
	}
	return p, nil
}

// waits reports whether a position of the channel was sent ahead of the subscription.
func (c *Client) waits(m *membership) bool {
	return c.recovery != nil && c.recovery.parked.Has(m.channel.Name) && m.channel.recent != nil
}

// setOut starts the way of a subscription whose success frame was queued, and resumes the subscription if its
// position was sent before.
func (c *Client) setOut(m *membership, way *fanout.Way) {
	if c.waits(m) && way != nil {
		way.Held.Store(false)
	}
	c.unpark(m)
	if way != nil && !way.Held.Load() {
		way.Wake()
	}
}

// park keeps a position until its channel is subscribed to. It reports false if there is no room for it.
func (c *Client) park(at pusher.ResumePosition) bool {
	if pusher.CheckChannel(at.Channel, c.app().Limits.MaxChannelLength) != nil {
		return true // Nobody can subscribe to that name, and it may be long.
	}
	return c.recovery.parked.Put(at, c.recovery.was, c.hub.opt.Now(), c.hub.limit.Load().MaxSubscriptions)
}

// unpark resumes a subscription from the position that waited for its channel.
func (c *Client) unpark(m *membership) {
	if c.recovery == nil {
		return
	}
	if at, was, ok := c.recovery.parked.Take(m.channel.Name, c.hub.opt.Now()); ok {
		c.resumeAll(c.doubt(m, at, was))
	}
}

// resumeAll resumes subscriptions. Together they wait for the log no longer than one would.
func (c *Client) resumeAll(doubts ...doubt) {
	all := &resuming{client: c, began: c.hub.opt.Now(), pending: 1}
	ctx, cancel := c.hub.library.Patience()
	defer cancel()
	for _, d := range doubts {
		if f := d.Judge(ctx); f != nil {
			c.sendAll(all.fail(f))
		} else if p := c.travel(all, d); p != nil {
			p.Wake()
		}
	}
	all.begun()
}

// doubt is a position of a subscription that is being judged.
type doubt struct {
	m  *membership
	at pusher.ResumePosition
	// was is the id of the client's former socket, as the client says.
	was string
	past.Doubt
}

func (c *Client) doubt(m *membership, at pusher.ResumePosition, was string) doubt {
	return doubt{m, at, was, m.channel.recent.Doubt(at, m.began)}
}

// travel starts the way of a subscription from a position. It returns nil if the epoch of the position has
// ended.
func (c *Client) travel(all *resuming, d doubt) *fanout.Way {
	m, at := d.m, d.at
	p := fanout.Traced(&fanout.Way{
		Line: m.channel.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Epoch: at.StreamID, Place: at.Serial,
		Most: c.app().Recovery.MaxEvents, MostBytes: c.app().Recovery.MaxBytes, Seen: at.LastMessageID, Was: d.was,
		Ends: &resumed{all: all, channel: m.channel, at: at}, Instead: c.instead(m.channel), Salt: at.Salt,
	}, c.hub.opt.Tracer, "resume")
	all.add()
	if !m.channel.Shards[c.shard.ID].Resume(p, m.began, max(at.Since, m.channel.recent.Since()), at.KeepsBases) {
		frames, _ := all.finish(nil, &pusher.ResumeFailure{ // The caller still holds one of pending, so this cannot be the last.
			Channel: at.Channel, Code: pusher.StreamReset, Reason: "the stream of the position has ended",
			Expected: at.StreamID, Current: m.channel.life(),
		})
		c.sendAll(frames)
		return nil
	}
	return p
}

// resuming is one resume request in progress. Its summary is sent once all of its channels are live or have
// failed.
type resuming struct {
	client *Client
	began  time.Time

	mu        rank.Mutex[rank.Resuming]
	pending   int
	recovered []*resumed
	failed    []pusher.ResumeFailure
}

func (r *resuming) add() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending++
}

// fail notes a channel that cannot be resumed, and returns the frame that tells the client.
func (r *resuming) fail(f *pusher.ResumeFailure) []*socket.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, *f)
	r.client.hub.opt.Metrics.resumed(r.client.tenant.ID, string(f.Code), "")
	return []*socket.Frame{r.client.failedFrame(f)}
}

// begun notes that all channels of the request have been started. The caller holds no lock.
func (r *resuming) begun() {
	frames, due := r.finish(nil, nil)
	r.client.sendAll(frames)
	if due {
		r.client.shard.Call(r.conclude)
	}
}

// finish notes that one of the pending channels has ended, and returns the frames for the client. due says
// that the shard must call conclude, because some channels became live before the last one.
func (r *resuming) finish(ok *resumed, f *pusher.ResumeFailure) (frames []*socket.Frame, due bool) {
	if f != nil {
		frames = r.fail(f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok != nil {
		r.recovered = append(r.recovered, ok)
		r.client.hub.opt.Metrics.resumed(r.client.tenant.ID, "recovered", ok.now.Source)
	}
	if r.pending--; r.pending > 0 {
		return frames, false
	}
	if len(r.recovered) > 0 { // A request without a recovery would distort the metric.
		r.client.hub.opt.Metrics.recovered(r.client.hub.opt.Now().Sub(r.began))
	}
	if n := len(r.recovered); n == 0 || n == 1 && ok != nil {
		return append(frames, r.summary()), false
	}
	return frames, true
}

// summary returns the frame that ends the request. The caller holds the lock.
func (r *resuming) summary() *socket.Frame {
	var recovered []pusher.Recovered
	for _, ok := range r.recovered {
		recovered = append(recovered, ok.now)
	}
	text := pusher.AppendResumeSuccess(nil, recovered, r.failed)
	return fanout.ControlFrame(r.client.dialect, len(text)+128, &pusher.Control{
		Event: "resume_success", Text: string(text), MessageID: r.client.hub.messageID(),
	})
}

// conclude sends the summary, with the present positions of the channels. The shard calls it, because only
// the shard moves these positions.
func (r *resuming) conclude() {
	r.mu.Lock()
	recovered := r.recovered
	r.mu.Unlock()
	for _, ok := range recovered {
		ok.advance()
	}
	r.mu.Lock()
	f := r.summary()
	r.mu.Unlock()
	r.client.send(f) // the client may have left, and its outbox with it
}

func (c *Client) failedFrame(f *pusher.ResumeFailure) *socket.Frame {
	return fanout.FailureFrame(c.dialect, f, c.hub.messageID())
}

func (c *Client) sendAll(frames []*socket.Frame) {
	for _, f := range frames {
		c.send(f)
	}
}

// resumed ends the way of a subscription that was resumed.
type resumed struct {
	all     *resuming
	channel *Channel
	at      pusher.ResumePosition
	// now is the position at which the subscription became live.
	now pusher.Recovered
}

func (r *resumed) End(p *fanout.Way) (frames []*socket.Frame) {
	due := false
	if f := p.Failed.Load(); f != nil {
		frames, due = r.all.finish(nil, f)
	} else {
		r.now = pusher.Recovered{
			Channel: r.channel.Name, Source: "hot", Replayed: p.Sent, Stream: r.at.StreamID,
			Serial: max(r.at.Serial, p.Place), LastMessageID: cmp.Or(p.Last, r.at.LastMessageID),
		}
		if p.Cold {
			r.now.Source = "cold"
		}
		frames, due = r.all.finish(r, nil)
	}
	if due {
		p.Shard.Defer(r.all.conclude)
	}
	return frames
}

// Abandon reports the channel as failed if another resume of the channel has replaced this one, so that each
// request accounts for all its channels. For a subscription that has ended, it reports nothing.
func (r *resumed) Abandon(p *fanout.Way) {
	var f *pusher.ResumeFailure
	if p.Replaced {
		f = &pusher.ResumeFailure{
			Channel: r.channel.Name, Code: pusher.ContinuityUnverifiable, Reason: "another resume of the channel took the place of this one",
			Expected: r.at.StreamID, Current: r.at.StreamID,
		}
	}
	frames, due := r.all.finish(nil, f)
	c := r.all.client
	if c.sendAll(frames); due {
		// The caller holds a lock that the shard may wait for.
		c.hub.tasks.Go(func() { c.shard.Call(r.all.conclude) })
	}
}

// advance adds what the socket got since it became live.
func (r *resumed) advance() {
	c := r.all.client
	at, live := r.channel.Shards[c.shard.ID].Reached(c.sock.Outbox())
	if live && at.Epoch == r.now.Stream && at.Offset > r.now.Serial {
		r.now.Serial, r.now.LastMessageID = at.Offset, r.channel.recent.IDAt(at.Offset)
	}
}
