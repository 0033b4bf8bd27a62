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

// list asks for the channels of an app. Of all apps one list is under way, unless it takes long: the server
// walks all subjects for each, and an answer of some megabytes waits for the connection that everybody reads by.
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

// channels asks once. It is slow if no answer came within the time: to ask again then would make more of what
// keeps the server busy. Nor is the server told of who leaves, so whoever leads waits for it all the same.
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
		// A token that is no name belongs to nobody.
		if channel, err := name.Decode(strings.TrimPrefix(subject, root)); err == nil {
			out = append(out, channel)
		}
	}
	slices.Sort(out)
	return out, nil, nil
}

var _ broker.Listing = (*Log)(nil)
