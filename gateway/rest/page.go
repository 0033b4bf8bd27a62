package rest

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Asked is a page of history that is asked for elsewhere than over HTTP, by somebody who may
// read the channel.
type Asked struct {
	pusher.ChannelHistory
	App *app.App
	// Attach is the place at which the subscription began, and Told what the client knows it as.
	Attach, Told uint64
	// MaxBytes is about how many bytes of data the page may have; it ends sooner then. One
	// event is always there.
	MaxBytes int
}

// Page is the body of the answer that a request for this page would get. The error says what
// is wrong in a sentence for the client.
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

// attachedBounds are the bounds of a page with what until_attach adds to them.
type attachedBounds struct {
	shownBounds
	UntilAttach bool    `json:"until_attach"`
	Attach      *uint64 `json:"attach_serial"`
}

// attachedSummary is what a page says with those.
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
		shown.Attach = &want.Told
		if end, err := strconv.ParseUint(r.params.Get("end_serial"), 10, 64); err != nil || end == 0 || end > want.Attach {
			r.params.Set("end_serial", strconv.FormatUint(max(want.Attach, 1), 10))
		}
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
	if err != nil {
		return nil, err
	}
	if want.UntilAttach && want.Attach == 0 {
		got.Publications, got.More = nil, false
	}
	size := 0
	for i, p := range got.Publications {
		if size += len(p.Data); i > 0 && size > want.MaxBytes {
			got.Publications, got.More = got.Publications[:i], true
			break
		}
	}
	last := uint64(0)
	if n := len(got.Publications); n > 0 {
		last = got.Publications[n-1].Offset
	}
	out := attachedSummary{summary: r.summary(view, got, w, got.More && last > 0, last)}
	shown.shownBounds = out.summary.Bounds
	out.Bounds = shown
	return page{appendItems(nil, r.channel, got.Publications), out}, nil
}
