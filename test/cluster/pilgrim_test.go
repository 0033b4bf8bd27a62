package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/app"
)

// recovers lets V2 clients of an app resume if they missed at most this number of events.
func recovers(a *app.App, events int) {
	a.Rewind = true
	a.Recovery = app.Recovery{Enabled: true, MaxEvents: events, MaxBytes: 16 << 20, Age: 10 * time.Minute}
}

// pilgrim is a V2 client that resumes wherever it was: it keeps its position in every channel and requests
// the events it missed, as section 5.3 of the protocol says.
type pilgrim struct {
	diary
	// early sends the resume before the subscriptions instead of right after them.
	early bool
	// forgetful never sends a resume.
	forgetful bool
}

func newPilgrim(a *app.App, channels ...string) *pilgrim {
	return &pilgrim{diary: newDiary(a, channels)}
}

// visit is one connection of a pilgrim.
type visit struct {
	gws.BuiltinEventHandler
	p    *pilgrim
	conn *gws.Conn
	// attached holds the positions at which subscriptions began whose missed events are still to come.
	attached map[string]place
	waits    map[string]bool
	// live is closed once nothing is pending.
	live, done chan struct{}
}

// visit connects to a gateway. The connection ends with ctx; after its end the pilgrim may open another one.
func (p *pilgrim) visit(ctx context.Context, address string) (*visit, error) {
	v := &visit{p: p, attached: map[string]place{}, waits: map[string]bool{}, live: make(chan struct{}), done: make(chan struct{})}
	conn, _, err := gws.NewClient(v, &gws.ClientOption{
		Addr: "ws://" + address + "/app/" + p.app.Key + "?protocol=2", HandshakeTimeout: patience, ReadMaxPayloadSize: 4 << 20,
	})
	if err != nil {
		return nil, err
	}
	v.conn = conn
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	go func() {
		defer close(v.done)
		defer stop()
		conn.ReadLoop()
		_ = conn.NetConn().Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lost.IsZero() {
			p.lost = time.Now()
		}
	}()
	return v, nil
}

// arrive implements [traveller].
func (p *pilgrim) arrive(ctx context.Context, address string) (<-chan struct{}, func(), error) {
	v, err := p.visit(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	return v.done, v.leave, nil
}

func (v *visit) leave() {
	_ = v.conn.NetConn().Close()
	<-v.done
}

// ask subscribes to all channels and resumes from the pilgrim's positions, in one write.
func (v *visit) ask() {
	p := v.p
	var frames [][]byte
	for _, channel := range p.channels {
		frames = append(frames, fmt.Appendf(nil, `{"event":"sockudo:subscribe","data":{"channel":%q}}`, channel))
		v.waits[channel] = true
	}
	if len(p.places) > 0 && !p.forgetful {
		positions, err := json.Marshal(map[string]any{"channel_positions": p.places})
		if err != nil {
			panic(err)
		}
		resume := fmt.Appendf(nil, `{"event":"sockudo:resume","data":%q}`, positions)
		if p.early {
			frames = append([][]byte{resume}, frames...)
		} else {
			frames = append(frames, resume)
		}
	}
	for i, f := range frames {
		frames[i] = inFrame(f)
	}
	_, _ = v.conn.NetConn().Write(bytes.Join(frames, nil))
}

// inFrame returns a client's text message with a zero mask.
func inFrame(text []byte) []byte {
	head := []byte{0x81}
	switch n := len(text); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	return append(append(head, 0, 0, 0, 0), text...)
}

func (v *visit) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (v *visit) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	text := strings.Clone(string(m.Bytes()))
	var f struct {
		message
		place
		MessageID string `json:"message_id"`
	}
	p := v.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		p.wrong = append(p.wrong, fmt.Sprintf("%v: %s", err, text))
		return
	}
	f.message.text = text
	at := place{f.Stream, f.Serial, f.MessageID}
	switch f.Event {
	case "sockudo:connection_established":
		v.ask()
	case "sockudo_internal:subscription_succeeded":
		v.begins(f.Channel, at)
	case "sockudo:resume_failed":
		v.failed(f.message)
	case "sockudo:resume_success":
		v.recovered(f.message)
	case "sockudo:error":
	case "sockudo:subscription_error":
		if strings.Contains(f.str(), `"status":503`) { // the log is unavailable: the client comes back later
			_ = v.conn.NetConn().Close()
			return
		}
		p.wrong = append(p.wrong, text)
	default:
		if !strings.HasPrefix(f.Event, "sockudo") {
			p.event(f.message, at)
		}
	}
	v.settle()
}

// settle marks the visit as live once nothing is pending.
func (v *visit) settle() {
	if len(v.waits) > 0 {
		return
	}
	select {
	case <-v.live:
		return
	default:
	}
	close(v.live)
	if p := v.p; !p.lost.IsZero() {
		p.took(time.Since(p.lost))
		p.lost = time.Time{}
	}
}

// begins records the position at which a subscription begins. A subscription that is to be resumed from
// another position is not live yet.
func (v *visit) begins(channel string, at place) {
	p := v.p
	if _, has := p.places[channel]; has && !p.forgetful {
		v.attached[channel] = at
		return
	}
	p.places[channel] = at
	if _, has := p.began[channel]; !has {
		p.began[channel] = at
	}
	delete(v.waits, channel)
}

func (v *visit) failed(m message) {
	p := v.p
	var f struct{ Channel, Code, Reason string }
	if err := json.Unmarshal([]byte(m.str()), &f); err != nil || f.Channel == "" {
		p.wrong = append(p.wrong, "a failure without a channel: "+m.text)
	}
	gap := told{after: p.places[f.Channel].Serial, code: f.Code, reason: f.Reason, live: true}
	if at, was := v.attached[f.Channel]; was {
		gap.through, gap.live = at.Serial, false
		p.places[f.Channel] = at
	}
	p.gaps[f.Channel] = append(p.gaps[f.Channel], gap)
	delete(v.attached, f.Channel)
	delete(v.waits, f.Channel)
}

func (v *visit) recovered(m message) {
	p := v.p
	var all struct {
		Recovered []struct {
			Channel, Source string
			Position        place
		}
	}
	if err := json.Unmarshal([]byte(m.str()), &all); err != nil {
		p.wrong = append(p.wrong, fmt.Sprintf("%v: %s", err, m.text))
	}
	for _, r := range all.Recovered {
		if was := p.places[r.Channel]; r.Position.Stream != was.Stream || r.Position.Serial < was.Serial {
			p.wrong = append(p.wrong, fmt.Sprintf("%s is at %+v after %+v", r.Channel, r.Position, was))
		}
		p.places[r.Channel] = r.Position
		p.resumed++
		if r.Source == "cold" {
			p.cold++
		}
		delete(v.attached, r.Channel)
		delete(v.waits, r.Channel)
	}
}

// come visits a gateway until all channels are live.
func (p *pilgrim) come(t *testing.T, address string) (v *visit) {
	t.Helper()
	p.comes(t, func() (live, done <-chan struct{}, leave func()) {
		var err error
		if v, err = p.visit(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		return v.live, v.done, v.leave
	})
	return v
}

// flood publishes numbered events in batches and waits for the acknowledgements. A busy machine may refuse
// some; they are repeated with the same idempotency key and stored once.
func flood(t *testing.T, address string, a *app.App, channel string, from, to int) {
	t.Helper()
	call := rand.Text()
	for from <= to {
		var items []string
		for ; from <= to && len(items) < a.Limits.MaxBatchSize; from++ {
			items = append(items, fmt.Sprintf(`{"name":"tick","channel":%q,"data":"%d","idempotency_key":"%s-%d"}`, channel, from, call, from))
		}
		eventually(t, "the events are published", func() bool {
			status, text, err := send(address, a, "POST", "/batch_events", `{"batch":[`+strings.Join(items, ",")+`]}`)
			if err != nil || status != 200 && status != 503 {
				t.Fatalf("publishing: %d %s %v", status, text, err)
			}
			return status == 200
		})
	}
}

func upTo(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}
