package rest

import (
	"time"

	"github.com/sluicehq/sluice/broker"
)

// floor is where the part of a channel begins that may be read. Zero is the
// beginning of what the log keeps.
type floor struct {
	offset   uint64
	time     time.Time
	messages uint64
}

// floor finds it by reading, because the log alone knows which events are the newest
// and what its clock says. Channels without bounds cost nothing.
func (r *request) floor() (floor, error) {
	var f floor
	bound := r.app.Readings.Of(r.channel)
	if bound.Messages > 0 {
		q := broker.Query{NewestFirst: true, Limit: bound.Messages}
		for n := uint64(0); q.Limit > 0; {
			page, err := r.read(q)
			if err != nil {
				return f, err
			}
			if !page.More || len(page.Publications) == 0 {
				f = floor{}
				break
			}
			// A page of large events is shorter than asked for.
			last := page.Publications[len(page.Publications)-1]
			n += uint64(len(page.Publications))
			q.Limit -= len(page.Publications)
			q.To = last.Offset - 1
			f = floor{last.Offset, last.Time, n}
		}
	}
	if bound.Age > 0 {
		page, err := r.young(bound.Age)
		switch {
		case err != nil:
			return f, err
		case len(page.Publications) == 0:
			f = floor{offset: page.Retained.Newest + 1}
		case page.Publications[0].Offset > f.offset:
			f = floor{offset: page.Publications[0].Offset, time: page.Publications[0].Time}
			f.messages, err = r.count(page)
			return f, err
		}
	}
	return f, nil
}

// countPage is how many events are read to be counted where the log cannot count.
const countPage = 1000

// young reads the first event of an age, and all of them if they have to be counted.
func (r *request) young(age time.Duration) (*broker.Page, error) {
	limit := 1
	if _, ok := r.api.opt.Log.(broker.Ranking); !ok {
		limit = countPage
	}
	return r.read(broker.Query{Since: r.api.opt.Now().Add(-age), Limit: limit})
}

// count returns how many events there are from the first one of a page on, 0 if that is not
// known.
func (r *request) count(page *broker.Page) (uint64, error) {
	log, ok := r.api.opt.Log.(broker.Ranking)
	switch {
	case ok:
		return log.CountFrom(r.http.Context(), r.app.ID, r.channel, page.Publications[0].Offset)
	case page.More:
		return 0, nil
	}
	return uint64(len(page.Publications)), nil
}

func (r *request) read(q broker.Query) (*broker.Page, error) {
	return r.api.opt.Log.Read(r.http.Context(), r.app.ID, r.channel, q)
}

// above reads what of a query lies above the floor.
func (r *request) above(f floor, q broker.Query) (*broker.Page, error) {
	q.From = max(q.From, f.offset)
	if f.offset > 0 && q.To > 0 && q.From > q.To {
		now, err := r.api.opt.Log.Retained(r.http.Context(), r.app.ID, r.channel)
		return &broker.Page{Retained: f.narrow(now)}, err
	}
	page, err := r.read(q)
	if err == nil {
		page.Retained = f.narrow(page.Retained)
	}
	return page, err
}

// narrow makes what is retained look as if the log kept no more than may be read.
func (f floor) narrow(now broker.Retained) broker.Retained {
	switch {
	case f.offset > now.Newest:
		return broker.Retained{Epoch: now.Epoch}
	case f.offset > now.Oldest:
		now.Oldest, now.OldestTime = f.offset, f.time
		if f.messages > 0 {
			now.Messages = min(now.Messages, f.messages)
		}
	}
	return now
}
