package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
)

// Asked is a page of history that a connection requests for a channel that it may read.
type Asked struct {
	pusher.ChannelHistory
	App *app.App
	// Attach is the position at which the subscription began, and Told is its serial as the client knows it.
	Attach broker.Position
	Told   uint64
	// MaxBytes is about the maximum size of the events of the page as JSON. The page has at least one event.
	MaxBytes int
}

// defaultPage is the default limit of a page for a subscriber (protocol section 5.5).
const defaultPage = 100

// Page returns the body that a request for this page would get. The text of the error is for the client.
func (a *API) Page(ctx context.Context, want Asked) ([]byte, error) {
	r := &request{api: a, app: want.App, channel: want.Channel, params: want.Params}
	r.http = (&http.Request{}).WithContext(ctx)
	if err := r.take(a.bucketsOf(want.App).reads, limitReads, "reads", 1); err != nil {
		r.noteLimit(err)
		return nil, failureOf(err)
	}
	got, err := r.pageUntil(want)
	if err != nil {
		return nil, failureOf(err)
	}
	body, err := encoded(got)
	if err != nil {
		return nil, failureOf(err)
	}
	return body, nil
}

// errOtherLife is the error for a subscription that began in an epoch that has ended.
var errOtherLife = invalid("the stream in which this subscription began has ended, and until_attach means nothing in another; subscribe again")

// of reports whether a page and all its events belong to this epoch.
func of(page *sight.Page, epoch string) bool {
	return page.Retained.Epoch == epoch &&
		!slices.ContainsFunc(page.Publications, func(p *broker.Publication) bool { return p.Epoch != epoch })
}

// attachedBounds are the bounds of a page with those of until_attach.
type attachedBounds struct {
	shownBounds
	UntilAttach bool    `json:"until_attach"`
	Attach      *uint64 `json:"attach_serial"`
}

// attachedSummary is a summary with attachedBounds.
type attachedSummary struct {
	summary
	Bounds attachedBounds `json:"bounds"`
}

func (r *request) pageUntil(want Asked) (any, error) {
	if err := r.checkHistory(); err != nil {
		return nil, err
	}
	shown := attachedBounds{UntilAttach: want.UntilAttach}
	if want.UntilAttach {
		shown.Attach, r.until = &want.Told, &want.Attach.Offset
	}
	if r.params.Get("limit") == "" {
		r.params.Set("limit", strconv.Itoa(defaultPage))
	}
	w, lines, err := r.asked()
	switch {
	case err != nil:
		return nil, err
	case lines:
		return nil, invalid("format is for requests over HTTP")
	}
	view, err := r.look()
	if err != nil {
		return nil, err
	}
	got, err := r.read(view, w)
	switch {
	case err != nil:
		return nil, err
	case want.UntilAttach && !of(got, want.Attach.Epoch):
		return nil, errOtherLife
	}
	// Subscribers get no tags here if the app does not deliver tags to them.
	tags := want.App.Now().ChannelDelta(r.channel).DeliverTags
	if n := within(want.MaxBytes, r.channel, got.Publications, tags); n < len(got.Publications) {
		got.Publications, got.More = got.Publications[:n], true
	}
	last := uint64(0)
	if n := len(got.Publications); n > 0 {
		last = got.Publications[n-1].Offset
	}
	out := attachedSummary{summary: r.summary(view, got, w, got.More && last > 0, last)}
	if shown.shownBounds = out.summary.Bounds; r.until != nil && w.bounds.EndSerial == want.Attach.Offset {
		shown.EndSerial = &want.Told
	}
	out.Bounds = shown
	return page{appendItems(nil, r.channel, got.Publications, tags), out}, nil
}
