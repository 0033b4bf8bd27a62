package fanout

import (
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// outlook is in which frames the last publications were sent to the subscribers of a channel in one shard, by
// form. The next publication usually needs the same, so its frames are made before the subscribers are
// locked, and subscribing does not wait for that. Frames that were not expected are made under the lock,
// once. It belongs to the goroutine that runs the round of the shard.
type outlook [Events + 1]use

type use uint8

const (
	// inFull and asDelta: a socket got such a frame; packed: a socket got it compressed.
	inFull use = 1 << iota
	asDelta
	packed
)

// saw notes the frame that a subscription gets.
func (o *outlook) saw(sub *subscription, p *Event, f, full *socket.Frame) {
	u := inFull
	if full != nil && f != full {
		u = asDelta
	}
	if sub.out.Kind().Form != nil {
		u |= packed
	}
	o[sub.form] |= u
}

// follow replaces the outlook by what was seen with a publication. A publication that could not be sent as a
// delta says nothing about deltas of the next one.
func (o *outlook) follow(seen *outlook, p *Event) {
	for f := range o {
		if from := p.lineage(Form(f)); !p.Tracked || from.Full || from.recent[0] == nil {
			seen[f] |= o[f]
		}
	}
	*o = *seen
}

// foresee makes the frames that are expected to be needed.
func (p *Event) foresee(o *outlook) {
	for i, u := range o {
		f := Form(i)
		if u == 0 {
			continue
		}
		if f&Delta == 0 || !p.Tracked {
			u.pack(p.Bare(f.Dialect(), f&Delta != 0))
			continue
		}
		full := p.full(f)
		if from := p.lineage(f); u&asDelta != 0 && !from.Full && from.recent[0] != nil {
			if d := p.delta(f, 0); d != nil {
				u.pack(d)
				if u&inFull == 0 {
					continue
				}
			}
		}
		u.pack(full)
	}
}

func (u use) pack(f *socket.Frame) {
	if u&packed != 0 {
		websocket.Packed(f)
	}
}
