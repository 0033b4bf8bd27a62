package client

import "strings"

// rememberedIDs is how many message ids of a channel are kept to know repeats by. The public
// clients keep as many for all channels together (protocol section 5.7); but an id is the
// publisher's to choose, who may send one event to several channels, and a busy channel must
// not have those of a quiet one forgotten.
const rememberedIDs = 1000

// recent are the last message ids of a channel, in a ring that grows to its full size.
type recent struct {
	known map[string]struct{}
	ring  []string
	next  int
}

// add notes an id, and reports false if it is there already.
func (r *recent) add(id string) bool {
	if _, known := r.known[id]; known {
		return false
	}
	if r.known == nil {
		r.known = map[string]struct{}{}
	}
	id = strings.Clone(id) // It is a part of a frame.
	r.known[id] = struct{}{}
	if len(r.ring) < rememberedIDs {
		r.ring = append(r.ring, id)
		return true
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % rememberedIDs
	return true
}
