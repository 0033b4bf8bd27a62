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

// recoveryOf is that of a new connection.
func recoveryOf(a *app.App, d pusher.Dialect) *recovery {
	if a == nil || d != pusher.V2 || !a.Recovery.Enabled {
		return nil
	}
	return &recovery{}
}

// recovery is what a connection wants of the past. It belongs to its reading goroutine,
// except for what has the lock.
type recovery struct {
	// parked are positions of channels that it has not subscribed to yet.
	parked past.Parking
	// was is the id of the socket that it was before, as it says.
	was string
	// asked is set once it has sent a resume: nothing is held after that.
	asked bool

	mu rank.Mutex[rank.Holding]
	// held are subscriptions that wait for a resume, and release lets them go on.
	held    past.Hold
	release *time.Timer
}

// recovers tells whether the connection may get what it missed.
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

// way is that of a subscription through the past, nil if it is live at once.
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
		// What is live comes behind what the position brings.
		p.Held.Store(true)
	} else if !c.hold(p, resumes) && silent {
		return nil, nil
	}
	return p, nil
}

// waits tells whether a position was sent ahead of a subscription.
func (c *Client) waits(m *membership) bool {
	return c.recovery != nil && c.recovery.parked.Has(m.channel.Name) && m.channel.recent != nil
}

// setOut begins the way of a subscription that was told that it is one, with what its client
// has asked for before.
func (c *Client) setOut(m *membership, way *fanout.Way) {
	if c.waits(m) && way != nil {
		way.Held.Store(false)
	}
	c.unpark(m)
	if way != nil && !way.Held.Load() {
		way.Wake()
	}
}

// park keeps a position until its channel is subscribed to. It is false without room for it.
func (c *Client) park(at pusher.ResumePosition) bool {
	if pusher.CheckChannel(at.Channel, c.app().Limits.MaxChannelLength) != nil {
		return true // Nobody subscribes to that, and it may be long.
	}
	return c.recovery.parked.Put(at, c.recovery.was, c.hub.opt.Now(), c.hub.limit.Load().MaxSubscriptions)
}

// unpark serves the position that waited for a channel.
func (c *Client) unpark(m *membership) {
	if c.recovery == nil {
		return
	}
	if at, was, ok := c.recovery.parked.Take(m.channel.Name, c.hub.opt.Now()); ok {
		c.resumeAll(c.doubt(m, at, was))
	}
}

// resumeAll has subscriptions resumed, which wait no longer for the log than one does.
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
	// was is the socket that the client was before, as it says.
	was string
	past.Doubt
}

func (c *Client) doubt(m *membership, at pusher.ResumePosition, was string) doubt {
	return doubt{m, at, was, m.channel.recent.Doubt(at, m.began)}
}

// travel sends the subscription on its way from a position.
func (c *Client) travel(all *resuming, d doubt) *fanout.Way {
	m, at := d.m, d.at
	p := fanout.Traced(&fanout.Way{
		Line: m.channel.Line, Shard: c.shard, Out: c.sock.Outbox(), Is: c.id, Epoch: at.StreamID, Place: at.Serial,
		Most: c.app().Recovery.MaxEvents, MostBytes: c.app().Recovery.MaxBytes, Seen: at.LastMessageID, Was: d.was,
		Ends: &resumed{all: all, channel: m.channel, at: at}, Instead: c.instead(m.channel), Salt: at.Salt,
	}, c.hub.opt.Tracer, "resume")
	all.add()
	if !m.channel.Shards[c.shard.ID].Resume(p, m.began, max(at.Since, m.channel.recent.Since()), at.KeepsBases) {
		frames, _ := all.finish(nil, &pusher.ResumeFailure{ // The request itself is waited for still.
			Channel: at.Channel, Code: pusher.StreamReset, Reason: "the stream of the position has ended",
			Expected: at.StreamID, Current: m.channel.life(),
		})
		c.sendAll(frames)
		return nil
	}
	return p
}

// resuming is one resume request on its way. Its frames come once all of its channels are
// where they are live.
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

// fail notes a channel that cannot be resumed, and returns what the client is told.
func (r *resuming) fail(f *pusher.ResumeFailure) []*socket.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, *f)
	r.client.hub.opt.Metrics.resumed(r.client.tenant.ID, string(f.Code), "")
	return []*socket.Frame{r.client.failedFrame(f)}
}

// begun notes that all of the request is on its way. The caller holds no lock.
func (r *resuming) begun() {
	frames, due := r.finish(nil, nil)
	r.client.sendAll(frames)
	if due {
		r.client.shard.Call(r.conclude)
	}
}

// finish notes that one of what is waited for has ended, and returns what the client is told
// now. due says that the shard is to conclude the request, because channels were live before
// the last one was.
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
	if len(r.recovered) > 0 { // Otherwise it says nothing of the time that a recovery takes.
		r.client.hub.opt.Metrics.recovered(r.client.hub.opt.Now().Sub(r.began))
	}
	if n := len(r.recovered); n == 0 || n == 1 && ok != nil {
		return append(frames, r.summary()), false
	}
	return frames, true
}

// summary is the frame that ends the request. The caller holds the lock.
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

// conclude sends the summary, with the places at which the channels are by now. The shard
// calls it, because nobody else takes them further.
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
	r.client.send(f) // which may have left, and its outbox with it
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
	// now is where it is once it has become live.
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

// Abandon names the channel as failed where another resume goes on with it, so that each request says
// what became of all its channels. Of a subscription that has ended nothing is said.
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

// advance notes what the socket has got since it became live.
func (r *resumed) advance() {
	c := r.all.client
	at, live := r.channel.Shards[c.shard.ID].Reached(c.sock.Outbox())
	if live && at.Epoch == r.now.Stream && at.Offset > r.now.Serial {
		r.now.Serial, r.now.LastMessageID = at.Offset, r.channel.recent.IDAt(at.Offset)
	}
}
