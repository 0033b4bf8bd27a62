package filters

import (
	"fmt"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Pool keeps each filter of a hub once, as long as a subscription uses it. Safe for concurrent use.
type Pool struct {
	mu     rank.Mutex[rank.Filters]
	byText map[string]*pooled
	bytes  int64
}

type pooled struct {
	filter *pusher.Filter
	users  int
}

// Take returns the filter with a text, and counts the caller as a user of it. It returns nil for an empty
// text. The error is that of [pusher.ParseFilter].
func (p *Pool) Take(raw string) (*pusher.Filter, error) {
	if raw == "" {
		return nil, nil
	}
	if f := p.known(raw, nil); f != nil {
		return f, nil
	}
	f, err := pusher.ParseFilter(raw)
	if err != nil {
		return nil, err
	}
	return p.known(f.Text(), f), nil
}

// known returns the filter with a text. If there is none, it adds fresh, unless that is nil.
func (p *Pool) known(text string, fresh *pusher.Filter) *pusher.Filter {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.byText[text]
	if have == nil {
		if fresh == nil {
			return nil
		}
		if p.byText == nil {
			p.byText = map[string]*pooled{}
		}
		have = &pooled{filter: fresh}
		p.byText[text] = have
		p.bytes += int64(fresh.Size())
	}
	have.users++
	return have.filter
}

// Drop gives up one use of a filter, which may be nil.
func (p *Pool) Drop(f *pusher.Filter) {
	if f == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.byText[f.Text()]
	if have.users--; have.users == 0 {
		delete(p.byText, f.Text())
		p.bytes -= int64(f.Size())
	}
}

// Size returns the memory of all filters in bytes.
func (p *Pool) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Own has the filters of one connection, with the number of subscriptions that use each. It belongs to the
// reading goroutine.
type Own struct {
	users map[*pusher.Filter]int
	bytes int
}

// Fits returns an error if a connection may not replace a filter by f. Either may be nil. limit is in bytes.
func (o *Own) Fits(f, before *pusher.Filter, limit int) error {
	if f == nil || o.users[f] > 0 {
		return nil
	}
	bytes := o.bytes + f.Size()
	if before != nil && o.users[before] == 1 {
		bytes -= before.Size()
	}
	if bytes > limit {
		return fmt.Errorf("filter: the filters of this connection need %d bytes together, the limit is %d (tag_filtering.max_bytes_per_connection)", bytes, limit)
	}
	return nil
}

// Swap notes that a subscription has replaced a filter by f. Either may be nil.
func (o *Own) Swap(f, before *pusher.Filter) {
	if f != nil {
		if o.users == nil {
			o.users = map[*pusher.Filter]int{}
		}
		if o.users[f]++; o.users[f] == 1 {
			o.bytes += f.Size()
		}
	}
	if before != nil {
		if o.users[before]--; o.users[before] == 0 {
			delete(o.users, before)
			o.bytes -= before.Size()
		}
	}
}
