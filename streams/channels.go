package streams

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// Channels implements [broker.Listing]. The leader of the stream answers.
func (l *Log) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	a, err := l.app(app)
	if err != nil {
		return nil, err
	}
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	all, err := l.listings.Do(ctx, app, func(ctx context.Context) ([]string, error) { return l.list(ctx, a, app) })
	return broker.Beginning(all, prefix), err
}

// list requests the channels of an app. Usually only one request of all apps is under way, because the server visits all
// subjects for each, and an answer of some megabytes occupies the read connection.
func (l *Log) list(ctx context.Context, a *appLog, app string) (out []string, err error) {
	done, err := l.listing.Take(ctx, app)
	if err != nil {
		return nil, err
	}
	defer done()
	var slow error
	err = l.patiently(ctx, func() (err error) {
		out, slow, err = l.channels(ctx, a, app)
		return err
	})
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	return out, cmp.Or(err, slow)
}

// channels sends one request. slow is the error if there was no answer in time: a retry would only add to the load of the
// server. The server cannot be told to stop, so the request goes on even if ctx ends.
func (l *Log) channels(ctx context.Context, a *appLog, app string) (out []string, slow, err error) {
	stream, err := l.streamOf(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	root, _ := rootsOf(l.opt.Prefix, app)
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.reader.naming)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	info, err := stream.Info(asking, jetstream.WithSubjectFilter(root+"*"))
	if err == nil {
		err = led(info)
	}
	switch {
	case err != nil && asking.Err() != nil:
		return nil, unavailable("asking for the subjects of the stream", err), nil
	case err != nil:
		return nil, nil, unavailable("asking for the subjects of the stream", err)
	case ctx.Err() != nil:
		return nil, ctx.Err(), nil
	}
	for subject := range info.State.Subjects {
		// A token that is not a valid name is no channel.
		if channel, err := name.Decode(strings.TrimPrefix(subject, root)); err == nil {
			out = append(out, channel)
		}
	}
	slices.Sort(out)
	return out, nil, nil
}

var _ broker.Listing = (*Log)(nil)
