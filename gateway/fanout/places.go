package fanout

import (
	"slices"
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Places is where the reader of an event stream is in each of its channels. One that reads
// several gets ids that name all of them, so its frames are copies with an id of their own;
// those who read one channel share theirs. The place of a channel is written with the lock of
// its subscribers, and read by whoever sends something of another channel.
type Places struct {
	channels []string
	sum      uint32
	at       []atomic.Pointer[pusher.Place]
}

// NewPlaces returns the places of a reader of these channels, who was at from, nil for nowhere.
func NewPlaces(channels []string, from []pusher.Place) *Places {
	p := &Places{channels: channels, sum: pusher.ChannelsSum(channels), at: make([]atomic.Pointer[pusher.Place], len(channels))}
	for i := range from {
		p.at[i].Store(&from[i])
	}
	return p
}

// Of is the place of one channel.
func (p *Places) Of(channel string) OwnPlace {
	return OwnPlace{p, slices.Index(p.channels, channel)}
}

// Text is the id that says where the reader is now, empty for no event stream.
func (p *Places) Text() string {
	if p == nil {
		return ""
	}
	return string(p.append(nil, -1, pusher.Place{}))
}

// append appends the id with one place as given, or none for -1.
func (p *Places) append(dst []byte, i int, is pusher.Place) []byte {
	var room [8]pusher.Place
	all := room[:0]
	for k := range p.at {
		at := p.at[k].Load()
		switch {
		case k == i:
			all = append(all, is)
		case at == nil:
			all = append(all, pusher.Place{})
		default:
			all = append(all, *at)
		}
	}
	return pusher.AppendPlaces(dst, all, p.sum)
}

// OwnPlace is the place of one channel among those of a reader.
type OwnPlace struct {
	*Places
	i int
}

// stamp is a frame that says where the reader is once it has it. A frame has its id for those
// who read nothing else.
func (o OwnPlace) stamp(f *socket.Frame, epoch string, offset uint64) *socket.Frame {
	if len(o.at) == 1 {
		return f
	}
	buf := make([]byte, 0, len(f.Payload())+32+24*len(o.at))
	buf = append(o.append(append(buf, "id: "...), o.i, pusher.Place{Stream: epoch, Serial: offset}), '\n')
	head := len(buf)
	return socket.NewFrame(append(buf, f.Payload()...), head).As(f)
}

// pass notes where the reader is. One channel needs no note: its frames say it.
func (o OwnPlace) pass(epoch string, offset uint64) {
	if len(o.at) > 1 {
		o.Set(epoch, offset)
	}
}

// Set notes where the reader is. Whoever has the lock of the subscribers calls it.
func (o OwnPlace) Set(epoch string, offset uint64) {
	o.at[o.i].Store(&pusher.Place{Stream: epoch, Serial: offset})
}

// onePlace is the id of a place in the only channel of a stream.
func onePlace(epoch string, offset uint64) string {
	return string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: epoch, Serial: offset}}, 0))
}

// appendPlace appends the field of such an id. What has no place in the log has none.
func appendPlace(dst []byte, epoch string, offset uint64) []byte {
	if offset == 0 {
		return dst
	}
	return append(pusher.AppendPlaces(append(dst, "id: "...), []pusher.Place{{Stream: epoch, Serial: offset}}, 0), '\n')
}
