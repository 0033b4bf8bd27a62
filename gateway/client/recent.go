package client

import "strings"

// rememberedIDs is how many message ids of a channel are kept to detect repeats. The public client libraries
// keep as many for all channels together (protocol section 5.7). Here they are kept by channel, because
// publishers choose the id and may send one event to several channels, and because a busy channel must not
// displace the ids of a quiet one.
const rememberedIDs = 1000

// recent holds the last message ids of a channel, in a ring that grows to its full size.
type recent struct {
	known map[string]struct{}
	ring  []string
	next  int
}

// add records an id, and reports whether it is new.
func (r *recent) add(id string) bool {
	if _, known := r.known[id]; known {
		return false
	}
	if r.known == nil {
		r.known = map[string]struct{}{}
	}
	id = strings.Clone(id) // do not keep the frame in memory
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
