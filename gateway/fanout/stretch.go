package fanout

import (
	"fmt"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// allows reports false for a publication with which the client has missed more than it may.
func (p *Way) allows(item *Event) bool {
	return item.Pub.Offset > p.until || !p.left().beyond(p.met+1, p.bytes+item.bytes)
}

// passes counts a publication of what the client missed, once it is behind the way.
func (p *Way) passes(item *Event) {
	if item.Pub.Offset <= p.until {
		p.met++
		p.bytes += item.bytes
	}
}

// stretch is the part of a way that it has not gone yet: from place to until, where head was the newest
// publication. It has the bounds of what the client may have missed.
type stretch struct {
	epoch              string
	place, until, head uint64
	// met and bytes are what the client had missed of the part behind it, most and mostBytes the bounds of
	// all that it may have missed, 0 for none.
	met, bytes, most, mostBytes int
}

// left is the stretch before it now.
func (p *Way) left() stretch {
	return stretch{p.Epoch, max(p.Place, p.had), p.until, p.Head, p.met, p.bytes, p.Most, p.MostBytes}
}

func (s stretch) beyond(items, bytes int) bool {
	return s.most > 0 && items > s.most || s.mostBytes > 0 && bytes > s.mostBytes
}

// tooMuch is the failure of a way on which more lies than the client may have missed.
func (s stretch) tooMuch(channel string) *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: channel, Code: pusher.PositionExpired, Newest: s.head}
	f.Reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", s.most, s.mostBytes)
	f.Expected, f.Current = s.epoch, s.epoch
	return f
}

// Waits notes where it is when it begins to wait for a page. The caller has the lock of the
// subscribers and that of the past.
func (p *Way) Waits() { p.waits = p.left() }

// count counts what items add to what was missed. It says whether that is more than may have been.
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

// Foreseen says whether nothing is to be found out any more before the way is gone: it is not bounded, was told
// by [Way.Foresee], or has come to what was missed. The caller has the lock of the past.
func (p *Way) Foreseen() bool { return p.judged || p.met > 0 || p.Most+p.MostBytes == 0 }

// Clear says whether the publications before the way, all up to a place, show that it may be gone. The caller has the
// lock of the subscribers and that of the past.
func (p *Way) Clear(known []*Event, through uint64) bool {
	s := p.left()
	_, beyond := s.count(known)
	return !beyond && through >= s.until
}

// Foresee says what a page, which reaches through a place, tells of the way of one that waited. It is
// the failure if more lies on the way than it may have missed. rest is what lies behind the page where
// that decides it and nothing was sent yet; whoever asked counts it. Otherwise both are nil. With
// either of them nothing more is sent before [Way.Foretell]. The caller has the lock of the past.
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

// Rest is what lies on a way behind a page: the publications above one place, up to another one. The
// way fails if there are more than Most. It is a plain value.
type Rest struct {
	Above, To uint64
	Most      int
	stretch   stretch
	channel   string
}

// TooMuch is the failure of the way if there are so many, nil if it may go on.
func (r *Rest) TooMuch(publications uint64) *pusher.ResumeFailure {
	if publications <= uint64(r.Most) {
		return nil
	}
	return r.stretch.tooMuch(r.channel)
}

// Foretell has it end with what was foreseen, unless it has found that out by itself, or go on if that
// is nil.
func (p *Way) Foretell(f *pusher.ResumeFailure) {
	p.foreseen.Store(f)
	p.doubted.Store(false)
}

// meets takes over what was foreseen. It says nothing to one that is bounded no more.
func (p *Way) meets() {
	if f := p.foreseen.Swap(nil); f != nil && p.Most+p.MostBytes > 0 {
		p.Failed.Store(f)
	}
}
