package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker"
)

const (
	// maxRows bounds the rows of one answer, and rowsUsually is the default.
	maxRows, rowsUsually = 200, 100
	// maxText bounds a search text in bytes.
	maxText = 256
)

// listing is the requested part of a list.
type listing struct {
	app, search, sort string
	down              bool
	from, limit       int
}

// rows is a part of a list. Total is the number of matching rows, and All that of all rows.
type rows[T any] struct {
	Rows  []T `json:"rows"`
	From  int `json:"from"`
	Total int `json:"total"`
	All   int `json:"all"`
}

func listingOf(q url.Values, sorts ...string) (l listing, err error) {
	l = listing{app: q.Get("app"), search: strings.ToLower(q.Get("search")), sort: q.Get("sort"), down: q.Get("order") == "desc"}
	if len(l.search) > maxText {
		return l, invalid(fmt.Sprintf("search has %d bytes, the limit is %d", len(l.search), maxText))
	}
	if l.sort == "" {
		l.sort = sorts[0]
	}
	if !slices.Contains(sorts, l.sort) {
		return l, invalid("sort must be one of " + strings.Join(sorts, ", "))
	}
	if l.from, err = whole(q, "from", 0, 0, 1<<31); err != nil {
		return l, err
	}
	l.limit, err = whole(q, "limit", rowsUsually, 1, maxRows)
	return l, err
}

// whole parses a number within bounds.
func whole(q url.Values, name string, def, low, high int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, invalid(fmt.Sprintf("%s is %.20q, must be a number from %d to %d", name, text, low, high))
	}
	return n, nil
}

// part returns the requested part of a sorted list.
func part[T any](l listing, matching []T, all int) rows[T] {
	from := min(l.from, len(matching))
	to := min(from+l.limit, len(matching))
	return rows[T]{append([]T{}, matching[from:to]...), from, len(matching), all}
}

// turned returns the result of a comparison for the requested direction.
func (l listing) turned(n int) int {
	if l.down {
		return -n
	}
	return n
}

func (c *Console) channels(r *http.Request) (any, error) {
	l, err := listingOf(r.URL.Query(), "channel", "subscriptions", "rate", "published")
	if err != nil {
		return nil, err
	}
	all := c.sampler.lookAtChannels()
	matching := make([]Channel, 0, len(all))
	for i := range all {
		if (l.app == "" || l.app == all[i].App) && (l.search == "" || strings.Contains(strings.ToLower(all[i].Name), l.search)) {
			matching = append(matching, all[i])
		}
	}
	slices.SortFunc(matching, func(a, b Channel) int {
		by := 0
		switch l.sort {
		case "subscriptions":
			by = cmp.Compare(a.Subscriptions, b.Subscriptions)
		case "rate":
			by = cmp.Compare(a.Rate, b.Rate)
		case "published":
			by = cmp.Compare(a.Published, b.Published)
		default:
			by = strings.Compare(a.Name, b.Name)
		}
		return cmp.Or(l.turned(by), strings.Compare(a.Name, b.Name), strings.Compare(a.App, b.App))
	})
	return part(l, matching, len(all)), nil
}

func (c *Console) connections(r *http.Request) (any, error) {
	q := r.URL.Query()
	l, err := listingOf(q, "since", "lag", "queue", "subscriptions", "user", "address", "id")
	if err != nil {
		return nil, err
	}
	all, slow := c.sampler.lookAtConnections(), q.Get("only") == "slow"
	matching := make([]Connection, 0, len(all))
	for i := range all {
		if x := &all[i]; (l.app == "" || l.app == x.App) && (!slow || x.Slow()) && x.matches(l.search) {
			matching = append(matching, *x)
		}
	}
	slices.SortFunc(matching, func(a, b Connection) int {
		by := 0
		switch l.sort {
		case "lag":
			by = cmp.Or(cmp.Compare(max(a.Oldest, a.Blocked), max(b.Oldest, b.Blocked)), cmp.Compare(a.Events, b.Events))
		case "queue":
			by = cmp.Compare(a.Bytes, b.Bytes)
		case "subscriptions":
			by = cmp.Compare(a.Subscriptions, b.Subscriptions)
		case "user":
			by = strings.Compare(a.User, b.User)
		case "address":
			by = strings.Compare(a.Address, b.Address)
		case "id":
			by = strings.Compare(a.ID, b.ID)
		default:
			by = cmp.Compare(a.Since, b.Since)
		}
		return cmp.Or(l.turned(by), strings.Compare(a.ID, b.ID))
	})
	return part(l, matching, len(all)), nil
}

func (c *Connection) matches(search string) bool {
	if search == "" {
		return true
	}
	for _, text := range []string{c.ID, c.Address, c.User} {
		if strings.Contains(strings.ToLower(text), search) {
			return true
		}
	}
	return false
}

// connection describes one connection with its subscriptions.
func (c *Console) connection(r *http.Request) (any, error) {
	id := r.URL.Query().Get("id")
	subscriptions, ok := c.opt.Gateway.Subscriptions(id)
	all := c.sampler.lookAtConnections()
	i := slices.IndexFunc(all, func(x Connection) bool { return x.ID == id })
	if !ok || i < 0 {
		return nil, refusal{http.StatusNotFound, "not_found", "there is no connection with this id on this gateway; it may have ended"}
	}
	c.measure(r.Context(), all[i].App, subscriptions)
	slices.SortFunc(subscriptions, func(a, b Subscription) int { return strings.Compare(a.Channel, b.Channel) })
	total := len(subscriptions)
	return map[string]any{"connection": all[i], "subscriptions": append([]Subscription{}, subscriptions[:min(total, maxRows)]...), "total": total}, nil
}

// maxMeasured bounds the subscriptions of an answer for which the log is read.
const maxMeasured = 8

// measure fills in, for subscriptions that are sent the past, how many events they still lack. The gateway knows
// their positions, and the log the number of events after these.
func (c *Console) measure(ctx context.Context, app string, all []Subscription) {
	ranking, ok := c.opt.History.(broker.Ranking)
	asked := 0
	for i := range all {
		s := &all[i]
		if !ok || s.State != "catching" || s.Place >= s.Head || asked == maxMeasured {
			continue
		}
		asked++
		n, err := ranking.CountFrom(ctx, app, s.Channel, s.Place+1)
		if err != nil {
			continue // The subscription is shown without a count.
		}
		s.Waiting = int(min(n, 1<<30))
		page, err := c.opt.History.Read(ctx, app, s.Channel, broker.Query{From: s.Place + 1, Limit: 1})
		if err == nil && len(page.Publications) > 0 {
			s.Oldest = max(c.opt.LogTime().Sub(page.Publications[0].Time).Milliseconds(), 0)
		}
	}
}

// overview returns the present state of the gateway.
func (c *Console) overview(*http.Request) (any, error) {
	return map[string]any{"totals": c.opt.Gateway.Totals(), "health": c.opt.Gateway.Health()}, nil
}

func (c *Console) cluster(r *http.Request) (any, error) {
	return c.opt.Gateway.Cluster(r.Context()), nil
}
