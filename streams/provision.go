package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// headerRoom is what a stored message may have beyond its data.
const headerRoom = 64 << 10

// epochKey names the epoch in the metadata of a stream.
const epochKey = "epoch"

// wanted is the stream of an app as it should be.
func (l *Log) wanted(a AppOptions) jetstream.StreamConfig {
	root, live := rootsOf(l.opt.Prefix, a.ID)
	root, live = root+">", live+">"
	return jetstream.StreamConfig{
		Name: streamName(l.opt.Prefix, a.ID), Subjects: []string{root},
		Description: described(a.ID),
		// Memory storage walks every sequence to find the next message of a
		// subject; the file store has an index.
		Storage: jetstream.FileStorage, Replicas: a.Replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxMsgsPerSubject: a.MaxMessages, MaxAge: a.MaxAge, MaxBytes: a.MaxBytes, MaxMsgs: -1,
		MaxMsgSize: int32(l.opt.MaxData + headerRoom),
		Duplicates: min(2*time.Minute, a.MaxAge),
		// Messages of a channel must disappear oldest first: the continuity of
		// history rests on it. Deleting in the middle would break it.
		AllowDirect: true, DenyDelete: true,
		RePublish: &jetstream.RePublish{Source: root, Destination: live},
	}
}

func described(app string) string {
	if app == broker.GatewaysApp {
		return "what gateways tell each other"
	}
	return "events of the app " + app
}

// provision creates the stream of an app, and adapts its limits if it may. Gateways with
// different settings would otherwise adapt it in turns for ever. What it does not
// manage must be as it wants it, or it refuses to touch the stream.
func (l *Log) provision(ctx context.Context, a AppOptions, adapt bool) (*jetstream.StreamInfo, error) {
	want := l.wanted(a)
	s, err := l.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		want.Metadata = map[string]string{epochKey: rand.Text()[:12]}
		s, err = l.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another gateway was quicker.
			s, err = l.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, noRoom(want, err))
	}
	have := s.CachedInfo().Config
	if err := fixedEquals(have, want); err != nil {
		return nil, fmt.Errorf("stream %s exists and differs: %w; change it with the nats CLI, or set nats.prefix to use another one", want.Name, err)
	}
	same := have.MaxMsgsPerSubject == want.MaxMsgsPerSubject && have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes &&
		have.MaxMsgSize == want.MaxMsgSize && have.Replicas == want.Replicas
	if (same || !adapt) && have.Metadata[epochKey] != "" {
		return s.CachedInfo(), nil
	}
	kept := leastOf(s.CachedInfo())
	kept.messages = smaller(kept.messages, want.MaxMsgsPerSubject)
	if _, err := l.epochs.remember(ctx, a.ID, kept); err != nil {
		return nil, fmt.Errorf("limits of the app %s: %w", a.ID, err)
	}
	l.opt.Logger.Info("adapting the limits of a stream", "stream", want.Name)
	have.MaxMsgsPerSubject, have.MaxAge, have.MaxBytes = want.MaxMsgsPerSubject, want.MaxAge, want.MaxBytes
	have.MaxMsgSize, have.Replicas, have.Duplicates = want.MaxMsgSize, want.Replicas, min(have.Duplicates, want.MaxAge)
	if have.Metadata[epochKey] == "" {
		if have.Metadata == nil {
			have.Metadata = map[string]string{}
		}
		have.Metadata[epochKey] = rand.Text()[:12]
	}
	if s, err = l.js.UpdateStream(ctx, have); err != nil {
		return nil, fmt.Errorf("stream %s: adapting its limits: %w", want.Name, noRoom(want, err))
	}
	return s.CachedInfo(), nil
}

// JetStream's error codes for limits that a stream meets when it is made.
const (
	tooManyStreams  = 10027
	accountResource = 10002
	storageResource = 10047
)

// noRoom says in our words that a stream has no place. JetStream sets the bytes of a
// stream aside when it is made.
func noRoom(want jetstream.StreamConfig, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case tooManyStreams:
		return fmt.Errorf("the account may have no more streams: %w", err)
	case accountResource, storageResource:
		if want.MaxBytes > 0 {
			return fmt.Errorf("NATS has no room for %d copies of %d bytes (history.max_bytes); lower it, or give the account or the servers more: %w",
				want.Replicas, want.MaxBytes, err)
		}
	}
	return err
}

// fixedEquals compares what cannot be changed, or must not be changed silently.
func fixedEquals(have, want jetstream.StreamConfig) error {
	var errs []error
	check := func(ok bool, what string, got, wanted any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, want %v", what, got, wanted))
		}
	}
	check(strings.Join(have.Subjects, " ") == strings.Join(want.Subjects, " "), "subjects", have.Subjects, want.Subjects)
	check(have.Storage == want.Storage, "storage", have.Storage, want.Storage)
	check(have.Retention == want.Retention, "retention", have.Retention, want.Retention)
	check(have.Discard == want.Discard, "discard policy", have.Discard, want.Discard)
	check(have.AllowDirect, "allow_direct", have.AllowDirect, true)
	check(have.DenyDelete, "deny_delete", have.DenyDelete, true)
	check(!have.AllowMsgTTL, "allow_msg_ttl", have.AllowMsgTTL, false)
	check(!have.Sealed, "sealed", have.Sealed, false)
	check(have.RePublish != nil && have.RePublish.Source == want.RePublish.Source &&
		have.RePublish.Destination == want.RePublish.Destination && !have.RePublish.HeadersOnly, "republish", have.RePublish, want.RePublish)
	return errors.Join(errs...)
}

// epochOf names the life of a stream: it changes when the stream is created anew,
// and when somebody wrote an override because offsets may come again.
func epochOf(info *jetstream.StreamInfo, override string) string {
	e := info.Config.Metadata[epochKey] + "-" + strconv.FormatInt(info.Created.UnixMilli(), 36)
	if override != "" {
		e += "-" + override
	}
	return e
}

// epochs is the bucket of overrides.
type epochs struct{ store kv.Store }

func openEpochs(ctx context.Context, l *Log) (*epochs, error) {
	bucket := strings.ToLower(strings.TrimSuffix(l.opt.Prefix, ".")) + "sluice_epochs"
	store, err := l.openBucket(ctx, kv.BucketOptions{Name: bucket, Replicas: l.opt.Replicas})
	if err != nil {
		return nil, err
	}
	return &epochs{store}, nil
}

// get returns the override of an app, empty if there is none.
func (e *epochs) get(ctx context.Context, app string) (string, uint64, error) {
	entry, err := e.store.Get(ctx, name.Key(app))
	if errors.Is(err, kv.ErrNotFound) {
		return "", 0, nil
	}
	return string(entry.Value), entry.Revision, err
}

// renew writes a new override unless somebody else did since `old` was read, and
// returns the one that counts.
func (e *epochs) renew(ctx context.Context, app, old string) (string, error) {
	for {
		have, revision, err := e.get(ctx, app)
		if err != nil || have != old {
			return have, err
		}
		fresh := rand.Text()[:8]
		if revision == 0 {
			_, err = e.store.Create(ctx, name.Key(app), []byte(fresh))
		} else {
			_, err = e.store.Update(ctx, name.Key(app), []byte(fresh), revision)
		}
		if err == nil {
			return fresh, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return "", err
		}
	}
}
