package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker"
)

const (
	// maxEvents bounds the events of an answer, and MaxShown the bytes of data of an event in a list. A request
	// for one event returns all its data.
	maxEvents = 200
	MaxShown  = 2 << 10
	// maxWhole bounds the data of an event that is requested alone.
	maxWhole = 4 << 20
	// publishersOf is how many of the newest events are searched for publishers.
	publishersOf = 100
)

var errTimeout = context.DeadlineExceeded

// place returns the app and the channel of a request.
func (c *Console) place(q url.Values) (app, channel string, err error) {
	app, channel = q.Get("app"), q.Get("channel")
	if !slices.Contains(c.opt.Apps(), app) {
		return "", "", refusal{http.StatusNotFound, "not_found", fmt.Sprintf("there is no app %.100q", app)}
	}
	if channel == "" || len(channel) > 1024 {
		return "", "", invalid("channel must be the name of a channel")
	}
	return app, channel, nil
}

// retained is what the log keeps of a channel.
type retained struct {
	Stream   string `json:"stream"`
	Oldest   uint64 `json:"oldest"`
	Newest   uint64 `json:"newest"`
	OldestAt int64  `json:"oldest_at_ms"`
	NewestAt int64  `json:"newest_at_ms"`
	Messages uint64 `json:"messages"`
}

func retainedOf(r broker.Retained) retained {
	return retained{r.Epoch, r.Oldest, r.Newest, millis(r.OldestTime), millis(r.NewestTime), r.Messages}
}

// publisher is a publisher of some of the newest events.
type publisher struct {
	From   string `json:"from"`
	Node   string `json:"node,omitempty"`
	User   string `json:"user,omitempty"`
	Events int    `json:"events"`
	Last   int64  `json:"last_at_ms"`
}

// channel describes one channel.
func (c *Console) channel(r *http.Request) (any, error) {
	app, name, err := c.place(r.URL.Query())
	if err != nil {
		return nil, err
	}
	page, err := c.opt.History.Read(r.Context(), app, name, broker.Query{NewestFirst: true, Limit: publishersOf})
	if err != nil {
		return nil, readError(err)
	}
	out := map[string]any{"app": app, "channel": name, "retained": retainedOf(page.Retained), "publishers": publishersIn(page.Publications), "publishers_of": len(page.Publications)}
	// Without a table, the counts of other gateways are unknown.
	if count, err := c.opt.Gateway.Count(r.Context(), app, name); err == nil {
		out["cluster"] = count
	}
	here := Channel{App: app, Name: name}
	all := c.sampler.lookAtChannels()
	if i := slices.IndexFunc(all, func(x Channel) bool { return x.App == app && x.Name == name }); i >= 0 {
		here = all[i]
	}
	out["here"] = here
	return out, nil
}

func publishersIn(publications []*broker.Publication) []publisher {
	out := []publisher{}
	for _, p := range publications {
		who := publisher{From: fromOf(p.Origin), Node: clean(p.Node), User: clean(p.UserID)}
		i := slices.IndexFunc(out, func(o publisher) bool { return o.From == who.From && o.Node == who.Node && o.User == who.User })
		if i < 0 {
			i, out = len(out), append(out, who)
		}
		out[i].Events++
		out[i].Last = max(out[i].Last, millis(p.Time))
	}
	slices.SortStableFunc(out, func(a, b publisher) int { return cmp.Compare(b.Events, a.Events) })
	return out
}

func fromOf(o broker.Origin) string {
	switch o {
	case broker.OriginHTTP:
		return "http"
	case broker.OriginClient:
		return "client"
	}
	return "log"
}

// Seen returns a publication as the console shows it, with at most so many bytes of its data.
func Seen(p *broker.Publication, most int) Event {
	data := p.Data
	if len(data) > most {
		for most > 0 && !utf8.RuneStart(data[most]) {
			most--
		}
		data = data[:most]
	}
	e := Event{
		Serial: p.Offset, Stream: p.Epoch, At: millis(p.Time), Name: clean(p.Name), ID: clean(p.ID()), From: fromOf(p.Origin),
		Node: clean(p.Node), User: clean(p.UserID), Skipped: p.Skipped, Data: clean(string(data)), Size: len(p.Data),
	}
	if len(p.Tags) > 0 {
		e.Tags = map[string]string{}
		for k, v := range p.Tags {
			if len(e.Tags) < 32 {
				e.Tags[clean(k)] = clean(v)
			}
		}
	}
	if p.HasKey {
		e.Key = clean(p.ConflationKey)
	}
	return e
}

// clean returns a text as valid UTF-8 for JSON.
func clean(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func readError(err error) error {
	if errors.Is(err, broker.ErrUnknownApp) || errors.Is(err, broker.ErrInvalidQuery) {
		return invalid(err.Error())
	}
	return err
}

// history returns a part of a channel's history in the log, even if the app hides it.
func (c *Console) history(r *http.Request) (any, error) {
	values := r.URL.Query()
	app, name, err := c.place(values)
	if err != nil {
		return nil, err
	}
	q := broker.Query{NewestFirst: values.Get("order") != "asc"}
	if q.Limit, err = whole(values, "limit", 50, 1, maxEvents); err != nil {
		return nil, err
	}
	var numbers [4]int64
	for i, key := range []string{"from", "to", "since_ms", "until_ms"} {
		text := values.Get(key)
		if text == "" {
			continue
		}
		if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil || numbers[i] < 0 || numbers[i] > 1<<53 {
			return nil, invalid(fmt.Sprintf("%s is %.20q, must be a number from 0 to 2^53", key, text))
		}
	}
	q.From, q.To = uint64(numbers[0]), uint64(numbers[1])
	if numbers[2] > 0 {
		q.Since = time.UnixMilli(numbers[2])
	}
	if numbers[3] > 0 {
		q.Until = time.UnixMilli(numbers[3]).Add(time.Millisecond - 1)
	}
	page, err := c.opt.History.Read(r.Context(), app, name, q)
	if err != nil {
		return nil, readError(err)
	}
	most := MaxShown
	if q.Limit == 1 && q.From > 0 && q.From == q.To {
		most = maxWhole
	}
	events := make([]Event, len(page.Publications))
	for i, p := range page.Publications {
		events[i] = Seen(p, most)
	}
	return map[string]any{"events": events, "more": page.More, "retained": retainedOf(page.Retained)}, nil
}

// members lists the members of a presence channel.
func (c *Console) members(r *http.Request) (any, error) {
	values := r.URL.Query()
	app, name, err := c.place(values)
	if err != nil {
		return nil, err
	}
	l, err := listingOf(values, "joined")
	if err != nil {
		return nil, err
	}
	all, err := c.opt.Gateway.Members(r.Context(), app, name)
	if err != nil {
		return nil, err
	}
	matching := all
	if l.search != "" {
		matching = slices.DeleteFunc(slices.Clone(all), func(m Member) bool {
			return !strings.Contains(strings.ToLower(m.ID), l.search) && !strings.Contains(strings.ToLower(m.Info), l.search)
		})
	}
	return part(l, matching, len(all)), nil
}
