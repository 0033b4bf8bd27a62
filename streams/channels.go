package streams

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// Channels implements [broker.Listing]. The leader of the stream answers.
func (l *Log) Channels(ctx context.Context, app, prefix string) (out []string, err error) {
	a, err := l.app(app)
	if err != nil {
		return nil, err
	}
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	err = l.patiently(ctx, func() (err error) {
		out, err = l.channels(ctx, a, app, prefix)
		return err
	})
	return out, err
}

func (l *Log) channels(ctx context.Context, a *appLog, app, prefix string) ([]string, error) {
	stream, err := l.streamOf(ctx, a)
	if err != nil {
		return nil, err
	}
	root, _ := rootsOf(l.opt.Prefix, app)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(root+"*"))
	if err == nil {
		err = led(info)
	}
	if err != nil {
		return nil, unavailable("asking for the subjects of the stream", err)
	}
	var out []string
	for subject := range info.State.Subjects {
		// A token that is no name belongs to nobody.
		channel, err := name.Decode(strings.TrimPrefix(subject, root))
		if err == nil && strings.HasPrefix(channel, prefix) {
			out = append(out, channel)
		}
	}
	slices.Sort(out)
	return out, nil
}

var _ broker.Listing = (*Log)(nil)
