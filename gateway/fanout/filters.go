package fanout

import "github.com/sluicehq/sluice/gateway/pusher"

// filters are the filters of a channel's subscriptions in one shard. Subscriptions with the same filter share
// it and its decision on the last publication, so a filter is evaluated once for all of them.
type filters struct {
	// list has free entries where users is 0. The number of a filter is its index plus one.
	list []sharedFilter
	at   map[*pusher.Filter]uint32
	// free are the indexes of free entries.
	free []uint32
}

type sharedFilter struct {
	filter *pusher.Filter
	users  int
	asked  *Event
	passes bool
}

// use counts a user of a filter and returns the number of the filter, 0 for none.
func (f *filters) use(filter *pusher.Filter) uint32 {
	if filter == nil {
		return 0
	}
	if n := f.at[filter]; n != 0 {
		f.list[n-1].users++
		return n
	}
	if f.at == nil {
		f.at = map[*pusher.Filter]uint32{}
	}
	i := uint32(len(f.list))
	if n := len(f.free); n > 0 {
		i, f.free = f.free[n-1], f.free[:n-1]
	} else {
		f.list = append(f.list, sharedFilter{})
	}
	f.list[i] = sharedFilter{filter: filter, users: 1}
	f.at[filter] = i + 1
	return i + 1
}

func (f *filters) drop(n uint32) {
	if n == 0 {
		return
	}
	shared := &f.list[n-1]
	if shared.users--; shared.users > 0 {
		return
	}
	delete(f.at, shared.filter)
	*shared = sharedFilter{}
	f.free = append(f.free, n-1)
	if len(f.at) == 0 {
		*f = filters{}
	}
}

// passes reports whether a publication passes the filter with that number.
func (f *filters) passes(n uint32, p *Event) bool {
	if n == 0 {
		return true
	}
	shared := &f.list[n-1]
	if shared.asked != p {
		shared.asked, shared.passes = p, shared.filter.Matches(p.Pub.Name, p.Pub.Tags)
	}
	return shared.passes
}

// forgetLast releases the last publication.
func (f *filters) forgetLast() {
	for i := range f.list {
		f.list[i].asked = nil
	}
}
