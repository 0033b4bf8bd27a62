package client

import (
	"container/list"
	"slices"
)

// basesPerKey is how many frames the public client libraries keep per conflation value (protocol section 3.13).
// This client keeps no more either, because a server that relied on more would break those libraries.
const basesPerKey = 30

// bases holds the texts of numbered frames by channel, conflation value and number, bounded in bytes. When full,
// it drops the least recently used value; from the last value it drops the oldest texts. The newest text is
// always kept.
type bases struct {
	limit, size int
	// evicted, if set, is called with the channel of a value that was dropped for lack of room.
	evicted func(channel string)
	values  map[place]*list.Element
	recent  list.List // of *held, most recently used first
}

type place struct{ channel, key string }

type held struct {
	place
	texts []base // oldest first
	size  int
}

type base struct {
	number uint32
	text   string
}

func newBases(limit int) *bases {
	return &bases{limit: limit, values: map[place]*list.Element{}}
}

func (b *bases) find(channel, key string, number uint32) (string, bool) {
	e, ok := b.values[place{channel, key}]
	if !ok {
		return "", false
	}
	for _, t := range slices.Backward(e.Value.(*held).texts) {
		if t.number == number {
			return t.text, true
		}
	}
	return "", false
}

func (b *bases) keep(channel, key string, number uint32, text string) {
	p := place{channel, key}
	e, ok := b.values[p]
	if ok {
		b.recent.MoveToFront(e)
	} else {
		e = b.recent.PushFront(&held{place: p})
		b.values[p] = e
	}
	h := e.Value.(*held)
	if len(h.texts) == basesPerKey {
		b.grow(h, -len(h.texts[0].text))
		copy(h.texts, h.texts[1:])
		h.texts = h.texts[:basesPerKey-1]
	}
	h.texts = append(h.texts, base{number, text})
	b.grow(h, len(text))
	for b.size > b.limit && b.recent.Len() > 1 {
		oldest := b.recent.Back()
		b.remove(oldest)
		if b.evicted != nil {
			b.evicted(oldest.Value.(*held).channel)
		}
	}
	for b.size > b.limit && len(h.texts) > 1 {
		b.grow(h, -len(h.texts[0].text))
		h.texts = slices.Delete(h.texts, 0, 1)
		if b.evicted != nil {
			b.evicted(channel)
		}
	}
}

func (b *bases) grow(h *held, n int) {
	h.size += n
	b.size += n
}

func (b *bases) remove(e *list.Element) {
	h := b.recent.Remove(e).(*held)
	delete(b.values, h.place)
	b.size -= h.size
}

func (b *bases) clear() {
	clear(b.values)
	b.recent.Init()
	b.size = 0
}

// forget drops the bases of a channel.
func (b *bases) forget(channel string) {
	for e := b.recent.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*held).channel == channel {
			b.remove(e)
		}
		e = next
	}
}
