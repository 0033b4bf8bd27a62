package fanout

import (
	"fmt"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// allows reports false for a publication with which the client has missed more than it may.
func (p *Way) allows(item *Event) bool {
	return item.Pub.Offset > p.until || !p.left().beyond(p.met+1, p.bytes+item.bytes)
}

// passes counts a publication that the client missed and that the way has now passed.
func (p *Way) passes(item *Event) {
	if item.Pub.Offset <= p.until {
		p.met++
		p.bytes += item.bytes
	}
}

// stretch is the remaining part of a way: from place to until, where head was the newest publication. It has
// the bounds of what the client may have missed.
type stretch struct {
	epoch              string
	place, until, head uint64
	// met and bytes count what the client had missed of the part that the way has passed. most and mostBytes
	// bound all that the client may have missed, 0 for no bound.
	met, bytes, most, mostBytes int
}

// left returns the remaining stretch.
func (p *Way) left() stretch {
	return stretch{p.Epoch, max(p.Place, p.had), p.until, p.Head, p.met, p.bytes, p.Most, p.MostBytes}
}

func (s stretch) beyond(items, bytes int) bool {
	return s.most > 0 && items > s.most || s.mostBytes > 0 && bytes > s.mostBytes
}

// tooMuch returns the failure of a way whose client has missed more than it may.
func (s stretch) tooMuch(channel string) *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: channel, Code: pusher.PositionExpired, Newest: s.head}
	f.Reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", s.most, s.mostBytes)
	f.Expected, f.Current = s.epoch, s.epoch
	return f
}

// Waits notes the stretch with which the way begins to wait for a page. The caller holds the lock of the
// subscribers and that of the past.
func (p *Way) Waits() { p.waits = p.left() }

// count adds items to what was missed. It reports whether that is more than allowed.
func (s *stretch) count(items []*Event) (met int, beyond bool) {
	met, bytes := s.met, s.bytes
	for _, item := range items {
		if at := item.Pub.Offset; at > s.place && at <= s.until {
			met++
			bytes += item.bytes
			if s.beyond(met, bytes) {
				return met, true
			}
		}
	}
	return met, false
}

// Foreseen reports whether nothing remains to be judged before the way continues: it has no bounds, was
// judged by [Way.Foresee], or has passed something that was missed. The caller holds the lock of the past.
func (p *Way) Foreseen() bool { return p.judged || p.met > 0 || p.Most+p.MostBytes == 0 }

// Clear reports whether known, the publications ahead of the way up to an offset, show that the client has
// not missed too much. The caller holds the lock of the subscribers and that of the past.
func (p *Way) Clear(known []*Event, through uint64) bool {
	s := p.left()
	_, beyond := s.count(known)
	return !beyond && through >= s.until
}

// Foresee judges a way that waited, from a page that reaches through an offset. It returns a failure if the
// client has missed more than it may. It returns rest if the publications after the page decide that and
// nothing was sent yet; the caller must then count them. Otherwise both are nil. With either of them, nothing
// more is sent before [Way.Foretell]. The caller holds the lock of the past.
func (p *Way) Foresee(page []*Event, through uint64) (f *pusher.ResumeFailure, rest *Rest) {
	s := &p.waits
	p.judged = true
	met, beyond := s.count(page)
	if beyond {
		p.doubted.Store(true)
		return s.tooMuch(p.Line.Name), nil
	}
	if s.met == 0 && s.most > 0 && through < s.until {
		p.doubted.Store(true)
		return nil, &Rest{Above: through, To: s.until, Most: s.most - met, stretch: *s, channel: p.Line.Name}
	}
	return nil, nil
}

// Rest is the part of a way after a page: the publications above one offset, up to another. The way fails if
// there are more than Most. It is a plain value.
type Rest struct {
	Above, To uint64
	Most      int
	stretch   stretch
	channel   string
}

// TooMuch returns the failure of the way if Rest has that many publications, nil if the way may continue.
func (r *Rest) TooMuch(publications uint64) *pusher.ResumeFailure {
	if publications <= uint64(r.Most) {
		return nil
	}
	return r.stretch.tooMuch(r.channel)
}

// Foretell lets the way continue, or makes it fail with f if that is not nil. A way that has ended by then
// ignores it.
func (p *Way) Foretell(f *pusher.ResumeFailure) {
	p.foreseen.Store(f)
	p.doubted.Store(false)
}

// meets takes a failure over that was foretold, unless the way has no bounds any more.
func (p *Way) meets() {
	if f := p.foreseen.Swap(nil); f != nil && p.Most+p.MostBytes > 0 {
		p.Failed.Store(f)
	}
}
