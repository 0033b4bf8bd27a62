package hub

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// TestTrust08SlowSocketsShareABound has sockets that do not read, each on a channel of its own and each far
// below its own bound. Together they may not hold more than the total bound: the slowest are closed, and a
// socket that reads gets every event.
func TestTrust08SlowSocketsShareABound(t *testing.T) {
	const total = 2 << 20
	r := newRig(t, func(o *Options, a *appT) {
		o.QueueBytes, o.SendBuffer, o.TotalQueueBytes = 8<<20, 4096, total
		o.Now, o.SlowAge = time.Now, patience
		a.Delta.Enabled = false
	})
	reader := r.subscribed("busy", false)
	var slow []*peer
	for i := range 12 {
		p := r.subscribed(fmt.Sprint("own-", i), false)
		p.sleep()
		slow = append(slow, p)
	}
	most := int64(0)
	body := strings.Repeat("x", 8<<10)
	n := 0
	for ; r.hub.hall.Sockets.Closed(socket.ByTotal) < 6; n++ {
		if n > 20_000 {
			t.Fatalf("the sockets hold %d bytes and nobody was closed", r.hub.hall.Sockets.Budget().Bytes())
		}
		r.publish(fmt.Sprint("own-", n%len(slow)), "e", fmt.Sprintf("%q", body))
		r.publish("busy", "e", fmt.Sprintf(`{"n":%d}`, n))
		most = max(most, r.hub.hall.Sockets.Budget().Bytes())
	}
	for i := range n {
		if m := reader.next(); !strings.Contains(string(m.Data), fmt.Sprintf(`\"n\":%d}`, i)) {
			t.Fatalf("the reader got %s as event %d", m.text, i)
		}
	}
	// Frames are counted before the bound is checked, so the last frame may exceed it.
	if limit := int64(total + len(slow)*(16<<10) + 64<<10); most > limit {
		t.Errorf("%d bytes were held at a time, the bound is %d", most, limit)
	}
	if own := r.hub.hall.Sockets.Closed(socket.ByQueue); own != 0 {
		t.Errorf("%d sockets were closed for their own queue", own)
	}
	reader.usable()
	t.Logf("%d events of 8 KB, %d bytes at most, %d closed", n, most, r.hub.hall.Sockets.Closed(socket.ByTotal))
}

// sleep makes a peer stop reading for the rest of the test.
func (p *peer) sleep() {
	p.pause()
	p.t.Cleanup(p.resume)
}

// TestTrust08SharedFramesCountOnce has sockets on one channel that do not read: a frame queued for all of
// them counts once in the total.
func TestTrust08SharedFramesCountOnce(t *testing.T) {
	const total = 8 << 20
	r := newRig(t, func(o *Options, a *appT) {
		o.QueueBytes, o.SendBuffer, o.TotalQueueBytes = 64<<20, 4096, total
		o.Now, o.SlowAge = time.Now, patience
		a.Delta.Enabled = false
	})
	for range 16 {
		r.subscribed("shared", false).sleep()
	}
	body := strings.Repeat("x", 8<<10)
	references := 0
	for n := 0; references < total; n++ {
		if n > 20_000 {
			t.Fatal("the sockets are not slow")
		}
		r.publish("shared", "e", fmt.Sprintf("%q", body))
		references = 0
		for _, s := range r.hub.hall.Shards {
			_, bytes := s.Writer.Queued()
			references += bytes
		}
	}
	if held := r.hub.hall.Sockets.Budget().Bytes(); held > int64(references)/2 || held == 0 {
		t.Errorf("%d bytes are held where the queues have %d, mostly of the same frames", held, references)
	}
	if n := r.hub.hall.Sockets.Closed(socket.ByTotal) + r.hub.hall.Sockets.Closed(socket.ByQueue); n != 0 {
		t.Errorf("%d sockets were closed", n)
	}
}

// TestTrust08SocketsBehindShareABound does the same for conflating sockets, which skip to the newest value:
// the values that wait for them count in the total bound, too.
func TestTrust08SocketsBehindShareABound(t *testing.T) {
	const total = 1 << 20
	r := newRig(t, func(o *Options, a *appT) {
		o.QueueFrames, o.QueueBytes, o.SendBuffer, o.TotalQueueBytes = 32, 64<<10, 4096, total
		o.Now, o.SlowAge = time.Now, patience
		a.Conflate, a.Delta.Path, a.Delta.MaxKeys = true, "k", 1000
	})
	for i := range 4 {
		r.subscribed(fmt.Sprint("own-", i), false).sleep()
	}
	for n := 0; r.hub.hall.Sockets.Closed(socket.ByTotal) == 0; n++ {
		if n > 20_000 {
			t.Fatalf("%d bytes are held and nobody was closed", r.hub.hall.Sockets.Budget().Bytes())
		}
		r.publish(fmt.Sprint("own-", n%4), "e", fmt.Sprintf(`{"k":"K%d","note":%q}`, n%1000, strings.Repeat("y", 4<<10)))
	}
}

// TestTrust08NoFurtherChannelsWhenMemoryIsScarce: while memory is scarce, only a subscription that would
// create a channel is refused.
func TestTrust08NoFurtherChannelsWhenMemoryIsScarce(t *testing.T) {
	var scarce atomic.Bool
	r := newRig(t, func(o *Options, _ *appT) { o.Scarce = scarce.Load })
	first := r.subscribed("known", false)
	scarce.Store(true)
	second, _ := r.connect()
	second.subscribe("known")
	second.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":"unknown"}}`)
	second.want("pusher:error")
	if m := second.want("pusher:subscription_error"); !strings.Contains(m.text, "no memory") {
		t.Errorf("another channel: %s", m.text)
	}
	scarce.Store(false)
	second.subscribe("unknown")
	r.publish("known", "e", `{}`)
	if m := first.next(); m.Event != "e" {
		t.Errorf("the first socket got %s", m.text)
	}
}

// TestTrust08BasesOfAllChannelsShareABound publishes on many channels: beyond the bound of all bases events
// go out in full, and the sweep evicts bases of idle channels.
func TestTrust08BasesOfAllChannelsShareABound(t *testing.T) {
	const total = 256 << 10
	r := newRig(t, func(o *Options, _ *appT) { o.TotalBaseBytes = total })
	body := strings.Repeat("z", 4<<10)
	for i := range 64 {
		p := r.subscribed(fmt.Sprint("own-", i), true)
		for range 3 {
			r.publish(fmt.Sprint("own-", i), "e", fmt.Sprintf(`{"note":%q}`, body))
			p.next()
		}
	}
	if got := r.hub.hall.BaseBytes.Load(); got > total+64<<10 {
		t.Errorf("bases take %d bytes, the bound is %d", got, total)
	}
	r.hub.sweep(r.hub.opt.Now())
	if got := r.hub.hall.BaseBytes.Load(); got > total {
		t.Errorf("after the sweep bases take %d bytes, the bound is %d", got, total)
	}
}

// TestTrust08BegunMessagesShareABound has sockets that announce a large message and send no more of it, or
// send fragments without an end. The sockets that began first are closed, and a socket that sends a whole
// message is served.
func TestTrust08BegunMessagesShareABound(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"a head and nothing else", []byte{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0}},
		{"a part of the payload", append([]byte{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 10_000)...)},
		{"a fragment", append([]byte{0x01, 0xfe, 0x80, 0x00, 0, 0, 0, 0}, make([]byte, 0x8000)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			const total = 1 << 20
			r := newRig(t, func(o *Options, a *appT) { o.TotalMessageBytes = total })
			var all []*peer
			for range 40 {
				p, _ := r.connect()
				p.raw(c.frame)
				all = append(all, p)
			}
			eventually(t, "the first are closed", func() bool { return r.hub.inbox.Size() <= total && ended(all) > 0 })
			honest, _ := r.connect()
			honest.say(`{"event":"pusher:ping","data":{"x":%q}}`, strings.Repeat("x", 60_000))
			honest.want("pusher:pong")
			for _, p := range all {
				p.hangUp()
			}
			eventually(t, "nothing is held", func() bool { return r.hub.inbox.Size() == 0 })
			honest.usable()
		})
	}
}

func ended(all []*peer) (n int) {
	for _, p := range all {
		select {
		case <-p.ended:
			n++
		default:
		}
	}
	return n
}

// TestTrust08ReadingMetricsTakesNoLockOfTheHub: a goroutine that creates a channel holds the hub's lock and
// may wait for the metrics' lock, which a scrape holds. Before, a scrape that waited for the hub's lock
// stopped everything.
func TestTrust08ReadingMetricsTakesNoLockOfTheHub(t *testing.T) {
	r := newRig(t, nil)
	r.subscribed("market", false)
	read := make(chan error, 1)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	go func() {
		_ = r.hub.Problems()
		_, err := r.registry.Gather()
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("reading the metrics waits for the hub")
	}
}

// turnstile is a feed that attaches one channel at a time, when told to.
type turnstile struct {
	broker.Feed
	came, next chan struct{}
}

func (f turnstile) Attach(ctx context.Context, app, channel string, to broker.Sink) (broker.Attachment, error) {
	f.came <- struct{}{}
	<-f.next
	return f.Feed.Attach(ctx, app, channel, to)
}

// TestTrust08NothingIsDoneForAPeerThatIsGone has a peer that requests several channels and disconnects. The
// server finishes the attach in progress, begins no other, and then releases the descriptor.
func TestTrust08NothingIsDoneForAPeerThatIsGone(t *testing.T) {
	gate := turnstile{came: make(chan struct{}), next: make(chan struct{})}
	r := newRig(t, func(o *Options, _ *appT) {
		l := newMemory(t, "app")
		t.Cleanup(func() { _ = l.Close() })
		gate.Feed = l
		o.Feed = gate
	})
	p, id := r.connect()
	var all []byte
	for i := range 6 {
		all = append(all, masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":"c%d"}}`, i))...)
	}
	p.raw(all)
	<-gate.came
	c := r.hub.find(id)
	_ = p.conn.(*net.TCPConn).SetLinger(0)
	p.hangUp()
	eventually(t, "writing fails", func() bool {
		c.send(websocket.Seal(websocket.Buffer(0), websocket.Ping))
		return c.sock.Gone()
	})
	gate.next <- struct{}{}
	forgotten := make(chan struct{})
	go func() {
		defer close(forgotten)
		eventually(t, "the connection is forgotten", func() bool { return r.hub.find(id) == nil })
	}()
	select {
	case <-forgotten:
	case <-gate.came:
		t.Error("another channel is followed for a peer that is gone")
		gate.next <- struct{}{}
		<-forgotten
	}
}
