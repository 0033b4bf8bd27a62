package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/workload"
)

// wireForm is one way to encode a stream on the wire.
type wireForm struct {
	name   string
	bytes  int
	took   time.Duration
	deltas int
	frame  func(m *wireMessage) []byte
}

type wireMessage struct {
	event pusher.EventFrame
	mark  pusher.Mark
	// fullDue is set if the interval requires a full frame.
	fullDue bool
	// small messages are excluded.
	small bool
}

// zip is a compressor. If it is reset for each message, it has no context takeover.
type zip struct {
	w     *flate.Writer
	out   bytes.Buffer
	reset bool
}

func newZip(reset bool) *zip {
	z := &zip{reset: reset}
	z.w, _ = flate.NewWriter(&z.out, flate.BestSpeed)
	return z
}

// message compresses the payload of a frame (RFC 7692).
func (z *zip) message(frame []byte) []byte {
	head := 2
	switch frame[1] {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	z.out.Reset()
	if z.reset {
		z.w.Reset(&z.out)
	}
	_, _ = z.w.Write(frame[head:])
	_ = z.w.Flush()
	packed := z.out.Bytes()[:z.out.Len()-4]
	if z.reset && len(packed) >= len(frame)-head {
		return frame
	}
	return framed(packed)
}

// deltaForm encodes as a gateway does for all sockets with the same base.
type deltaForm struct {
	dialect pusher.Dialect
	vcdiff  bool
	enc     delta.Encoder
	last    map[string][]byte
	number  map[string]uint32
	raw     []byte
	deltas  int
}

func (d *deltaForm) frame(m *wireMessage) []byte {
	if m.small {
		return framed(pusher.AppendBare(nil, d.dialect, &m.event))
	}
	full := pusher.AppendMarked(nil, d.dialect, &m.event, m.mark)
	base, has := d.last[m.mark.Key]
	from := d.number[m.mark.Key]
	d.last[m.mark.Key], d.number[m.mark.Key] = full, m.mark.Sequence
	if !has || m.fullDue {
		return framed(full)
	}
	name := "fossil"
	if d.vcdiff {
		name = "xdelta3"
		d.raw = d.enc.AppendVCDIFF(d.raw[:0], base, full)
	} else {
		d.raw = d.enc.AppendFossil(d.raw[:0], base, full)
	}
	text := pusher.AppendDelta(nil, d.dialect, &m.event, m.mark, name, from, d.raw)
	if len(text) >= len(full) {
		return framed(full)
	}
	d.deltas++
	return framed(text)
}

// wires prints the size of the streams on the wire, in whole frames.
func wires(messages int) error {
	fmt.Printf("Bytes per message on the wire, whole frames with header, envelope and base64, %d messages of each stream, one full message in ten, frames below 100 B sent plain. `full` is what a socket without deltas gets. CPU is that of encoding once; with context takeover it is spent for every socket.\n\n", messages)
	fmt.Println("| stream | dialect | form | bytes/message | saved | as delta | CPU per message | spent |")
	fmt.Println("| --- | --- | --- | ---: | ---: | ---: | ---: | --- |")
	for _, name := range []string{"quote", "iot", "ticker", "ticker3", "dashboard", "game", "chat", "book", "telemetry"} {
		for _, d := range []pusher.Dialect{pusher.V1, pusher.V2} {
			n := messages
			if name == "book" {
				n = messages / 10
			}
			if err := wire(name, d, n); err != nil {
				return err
			}
		}
	}
	fmt.Println()
	return nil
}

func wire(name string, d pusher.Dialect, n int) error {
	s := streamNamed(name)
	path := delta.Path{}
	if s.KeyPath != "" {
		var err error
		if path, err = delta.ParsePath(s.KeyPath); err != nil {
			return err
		}
	}
	// For a socket without deltas: its data is always a string.
	plain := func(m *wireMessage) []byte {
		ev := m.event
		ev.EmbedData = false
		return framed(pusher.AppendBare(nil, d, &ev))
	}
	newDelta := func(vcdiff bool) *deltaForm {
		return &deltaForm{dialect: d, vcdiff: vcdiff, last: map[string][]byte{}, number: map[string]uint32{}}
	}
	fossil, vcdiff, packed := newDelta(false), newDelta(true), newDelta(false)
	alone, shared, zipped := newZip(false), newZip(true), newZip(true)
	forms := []*wireForm{
		{name: "full", frame: plain},
		{name: "fossil", frame: fossil.frame},
		{name: "xdelta3", frame: vcdiff.frame},
		{name: "deflate, no context takeover", frame: func(m *wireMessage) []byte { return shared.message(plain(m)) }},
		{name: "fossil + deflate", frame: func(m *wireMessage) []byte { return zipped.message(packed.frame(m)) }},
		{name: "deflate, context takeover", frame: func(m *wireMessage) []byte { return alone.message(plain(m)) }},
	}
	counts := map[string]int{}
	grown := 0
	for i := range n {
		m := message(s, path, d, uint32(i))
		m.fullDue = counts[m.mark.Key]%10 == 0
		counts[m.mark.Key]++
		full := len(framed(pusher.AppendMarked(nil, d, &m.event, m.mark)))
		for j, f := range forms {
			t := time.Now()
			b := f.frame(m)
			f.took += time.Since(t)
			f.bytes += len(b)
			if (j == 1 || j == 2) && len(b) > full {
				grown++
			}
		}
	}
	if grown > 0 {
		return fmt.Errorf("wire %s: %d messages grew because of delta", name, grown)
	}
	forms[1].deltas, forms[2].deltas, forms[4].deltas = fossil.deltas, vcdiff.deltas, packed.deltas
	label := "V1"
	if d == pusher.V2 {
		label = "V2"
	}
	for j, f := range forms {
		spent, asDelta := "once", "-"
		if j == len(forms)-1 {
			spent = "per socket"
		}
		if f.deltas > 0 {
			asDelta = fmt.Sprintf("%.0f %%", 100*float64(f.deltas)/float64(n))
		}
		fmt.Printf("| %s | %s | %s | %.0f | %.0f %% | %s | %.2f us | %s |\n", name, label, f.name, float64(f.bytes)/float64(n),
			100-100*float64(f.bytes)/float64(forms[0].bytes), asDelta, float64(f.took.Nanoseconds())/float64(n)/1e3, spent)
	}
	return nil
}

// message returns the next event of a stream in the form that a gateway has.
func message(s *workload.Stream, path delta.Path, d pusher.Dialect, number uint32) *wireMessage {
	m := &wireMessage{event: pusher.EventFrame{Event: s.Event, Channel: s.Channel, Data: s.Next()}}
	m.mark = pusher.Mark{Sequence: 731_204_000 + number}
	if s.KeyPath != "" {
		m.mark.Keyed, m.mark.Key = true, path.Lookup(m.event.Data)
	}
	m.event.EmbedData = delta.ShapeOf(m.event.Data) == delta.Structure
	v1 := m.event
	m.small = len(pusher.AppendBare(nil, pusher.V1, &v1)) < 100
	if d == pusher.V2 {
		m.event.MessageID = fmt.Sprintf("m1k2j3h4-%d", 40_000+number)
		m.event.StreamID, m.event.Serial = "m1k2j3h4", uint64(40_000+number)
	}
	return m
}
