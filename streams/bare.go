package streams

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// OpenBare connects as [Open] does, but opens neither apps nor the feed; the options need no apps. It is for administration
// beside the gateways, with [Log.OpenTable], [Log.Measure] and [Log.RemoveApp]. Nothing else of the log works.
func OpenBare(ctx context.Context, opt Options) (*Log, error) {
	if len(opt.Apps) == 0 {
		// The options must have an app; it is not opened.
		opt.Apps = []AppOptions{{ID: "none", Secrets: []Secret{"none"}}}
	}
	if err := opt.setDefaults(); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	l := &Log{
		opt: opt, problems: map[string]problem{}, refusals: map[string]*refusal{},
		repairs: broker.NewShare(16), listing: broker.NewShare(1), wake: follow.NewBell(), lacking: follow.NewBell(), writesLost: follow.NewBell(),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.follow = l.newFeed()
	ctx, cancel := context.WithTimeout(ctx, opt.StartTimeout)
	defer cancel()
	err := l.connectAll(ctx)
	if err == nil {
		err = attempt(ctx, func(ctx context.Context) error {
			_, err := l.js.AccountInfo(ctx)
			return err
		})
		if err != nil {
			err = l.withoutJetStream(err)
		}
	}
	if err != nil {
		err = errors.Join(err, l.refusal())
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Measure returns the events and bytes in the stream of an app. there is false if the stream does not exist.
func (l *Log) Measure(ctx context.Context, app string) (events, bytes uint64, there bool, err error) {
	s, err := l.admin.Stream(ctx, streamName(l.opt.Prefix, app))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, 0, false, nil
	case err != nil:
		return 0, 0, false, unavailable("looking at the stream of the app "+app, err)
	}
	state := s.CachedInfo().State
	return state.Msgs, state.Bytes, true, nil
}

// RemoveApp deletes the stream of an app with all its events. No gateway may serve the app.
func (l *Log) RemoveApp(ctx context.Context, app string) error {
	err := l.admin.DeleteStream(ctx, streamName(l.opt.Prefix, app))
	if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return fmt.Errorf("deleting the stream %s: %w", streamName(l.opt.Prefix, app), err)
}
