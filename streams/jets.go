package streams

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jets is JetStream on the present connection of a link. The returned objects belong to that connection, so callers must not
// keep them.
type jets struct{ link *link }

func (j jets) now() jetstream.JetStream { return j.link.now.Load().js }

func (j jets) Conn() *nats.Conn { return j.link.conn() }

func (j jets) AccountInfo(ctx context.Context) (*jetstream.AccountInfo, error) {
	return j.now().AccountInfo(ctx)
}

func (j jets) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return j.now().Stream(ctx, name)
}

func (j jets) CreateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	return j.now().CreateStream(ctx, c)
}

// UpdateStream refuses to raise the number of copies without a cluster. The server would accept that and keep one copy.
func (j jets) UpdateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	if c.Replicas > 1 {
		s, err := j.Stream(ctx, c.Name)
		if err != nil {
			return nil, err
		}
		if info := s.CachedInfo(); clusterless(info) && info.Config.Replicas < c.Replicas {
			return nil, notReplicated
		}
	}
	return j.now().UpdateStream(ctx, c)
}

func (j jets) DeleteStream(ctx context.Context, name string) error {
	return j.now().DeleteStream(ctx, name)
}

func (j jets) StreamNameBySubject(ctx context.Context, subject string) (string, error) {
	return j.now().StreamNameBySubject(ctx, subject)
}

func (j jets) StreamNames(ctx context.Context, opts ...jetstream.StreamListOpt) jetstream.StreamNameLister {
	return j.now().StreamNames(ctx, opts...)
}

func (j jets) ListStreams(ctx context.Context, opts ...jetstream.StreamListOpt) jetstream.StreamInfoLister {
	return j.now().ListStreams(ctx, opts...)
}

func (j jets) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	return j.now().Consumer(ctx, stream, name)
}

func (j jets) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	return j.now().KeyValue(ctx, bucket)
}

func (j jets) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return j.now().Publish(ctx, subject, data, opts...)
}

func (j jets) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return j.now().PublishMsg(ctx, m, opts...)
}
