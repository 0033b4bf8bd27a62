package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/shape"
)

// headerRoom is how many bytes a stored message may have in addition to its data.
const headerRoom = 64 << 10

// epochKey is the key of the epoch in the metadata of a stream.
const epochKey = "epoch"

// idWindow is the deduplication window, unless events live for less.
const idWindow = 2 * time.Minute

// wanted returns the configuration that the stream of an app should have.
func (l *Log) wanted(a AppOptions) jetstream.StreamConfig {
	root, live := rootsOf(l.opt.Prefix, a.ID)
	root, live = root+">", live+">"
	return jetstream.StreamConfig{
		Name: streamName(l.opt.Prefix, a.ID), Subjects: []string{root},
		Description: described(a.ID),
		// To find the next message of a subject, memory storage visits every sequence. File storage has an index.
		Storage: jetstream.FileStorage, Replicas: a.Replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxMsgsPerSubject: a.MaxMessages, MaxAge: a.MaxAge, MaxBytes: a.MaxBytes, MaxMsgs: -1,
		MaxMsgSize: int32(l.maxData() + headerRoom),
		Duplicates: min(idWindow, a.MaxAge),
		// Messages of a channel must be removed oldest first, because the continuity of history depends on it. Deleting
		// one in the middle would break it.
		AllowDirect: true, DenyDelete: true, AllowAtomicPublish: l.atomic(a),
		RePublish: &jetstream.RePublish{Source: root, Destination: live},
	}
}

// ofApps are the rules for streams of apps. Settings for consumers and purges are free, because nothing here needs them.
var ofApps = shape.Options{"MaxConsumers": shape.Free, "ConsumerLimits": shape.Free, "DenyPurge": shape.Free}

// rulesOf returns the rules for the stream of an app. If atomic batches are not used, the setting for them is free: it does
// no harm, and an old server does not know it.
func (l *Log) rulesOf(want jetstream.StreamConfig) shape.Options {
	if want.AllowAtomicPublish || l.opt.Atomic != AtomicNever && l.level >= atomicAPILevel {
		return ofApps
	}
	rules := maps.Clone(ofApps)
	rules["AllowAtomicPublish"] = shape.Free
	return rules
}

func described(app string) string {
	if app == broker.GatewaysApp {
		return "what gateways tell each other"
	}
	return "events of the app " + app
}

// provision creates the stream of an app, or puts back settings that differ. It changes limits only if adapt is true:
// otherwise gateways with different configurations would change them back and forth for ever. With errFinal it also
// returns the stream as it is. The caller holds the turn.
func (l *Log) provision(ctx context.Context, a *appLog, limits AppOptions, adapt bool) (*jetstream.StreamInfo, error) {
	want := l.wanted(limits)
	s, err := l.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := l.held(ctx); err != nil {
			return nil, fmt.Errorf("stream %s is missing: %w", want.Name, err)
		}
		want.Metadata = map[string]string{epochKey: rand.Text()[:12]}
		s, err = kv.MakeStream(ctx, l.js, want)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, l.whyNot(ctx, want, err))
	}
	info := s.CachedInfo()
	if err := l.recognise(ctx, a, info, &want); err != nil {
		return nil, err
	}
	found := shape.Compare(info.Config, want, l.rulesOf(want), adapt)
	if info.Config.Retention != want.Retention {
		a.uninterested.Store(time.Now().UnixNano())
	}
	l.appNote(a.opt.ID, "settings of the stream "+want.Name, remaining(found))
	if len(found.Fatal) > 0 {
		return info, fmt.Errorf("stream %s exists and differs for good: %s; %w", want.Name, shape.List(found.Fatal), errFinal)
	}
	if len(found.Changed) == 0 {
		return info, nil
	}
	return l.putBack(ctx, a, info, found, adapt)
}

// holdKey in the metadata of the stream of gateways prevents missing streams from being created while an operator is
// about to restore them.
const holdKey = "hold"

// held returns an error while missing streams must not be created.
func (l *Log) held(ctx context.Context) error {
	gateways := streamName(l.opt.Prefix, broker.GatewaysApp)
	s, err := l.js.Stream(ctx, gateways)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("it is not known whether the stream %s has the metadata %s: %w", gateways, holdKey, err)
	case s.CachedInfo().Config.Metadata[holdKey] == "":
		return nil
	}
	return fmt.Errorf("it is not made anew as long as the stream %s has the metadata %s: restore it, then nats stream edit %s -f --metadata %s=",
		gateways, holdKey, gateways, holdKey)
}

// recognise checks that a stream belongs to an app, and sets the epoch mark in the wanted metadata: the mark that the
// stream has, or had before it was removed by an edit. The error says that the stream is not ours.
func (l *Log) recognise(ctx context.Context, a *appLog, info *jetstream.StreamInfo, want *jetstream.StreamConfig) error {
	mark := info.Config.Metadata[epochKey]
	if mark == "" {
		var err error
		if mark, err = l.lostMark(ctx, a, info); err != nil {
			return fmt.Errorf("epoch of the app %s: %w", a.opt.ID, err)
		}
	}
	if mark == "" {
		if !slices.Equal(info.Config.Subjects, want.Subjects) {
			return fmt.Errorf("stream %s exists and differs: it is not of Sluice, its subjects are %q, want %q; set nats.prefix to use another one",
				want.Name, info.Config.Subjects, want.Subjects)
		}
		mark = rand.Text()[:12]
	}
	want.Metadata = map[string]string{epochKey: mark}
	return nil
}

// lostMark returns the epoch mark that an edit has removed from a stream, empty if it is not known.
func (l *Log) lostMark(ctx context.Context, a *appLog, info *jetstream.StreamInfo) (string, error) {
	known := a.least.Load()
	if known == nil {
		shared, _, err := l.epochs.least(ctx, a.opt.ID)
		if err != nil {
			return "", err
		}
		known = &shared
	}
	mark, ok := strings.CutSuffix(known.stream, bornAt(info))
	if !ok {
		return "", nil
	}
	return mark, nil
}

// putBack updates a stream to the wanted configuration.
func (l *Log) putBack(ctx context.Context, a *appLog, info *jetstream.StreamInfo, found shape.Report, adapt bool) (*jetstream.StreamInfo, error) {
	name, what := info.Config.Name, shape.List(found.Changed)
	info.Config.Metadata = found.Config.Metadata
	kept := leastOf(info)
	kept.messages = smaller(kept.messages, found.Config.MaxMsgsPerSubject)
	if _, err := l.epochs.remember(ctx, a.opt.ID, kept); err != nil {
		return nil, fmt.Errorf("limits of the app %s: %w", a.opt.ID, err)
	}
	s, err := l.js.UpdateStream(ctx, found.Config)
	if err != nil {
		return nil, fmt.Errorf("stream %s exists and differs: %s; it could not be put back: %w", name, what, noRoom(found.Config, err))
	}
	now := s.CachedInfo()
	if now.Config.Metadata[epochKey] == "" {
		// Another edit removed it again before the server answered.
		now.Config.Metadata = found.Config.Metadata
	}
	if adapt {
		l.opt.Logger.Info("adapting the settings of a stream", "stream", name, "settings", what)
		return now, nil
	}
	l.noteMended(name, what)
	a.disturbed()
	// Messages that were not delivered meanwhile are read from the log.
	a.poke()
	return now, nil
}

// errFinal says that a stream has settings with which it cannot be used, and which NATS does not let anybody change.
var errFinal = errors.New("NATS does not take that back: back the stream up, delete it and restore it with another configuration " +
	"(docs/operations.md, What may be changed in NATS), or set nats.prefix to use another one")

// remaining returns an error that lists the settings which differ and stay so, nil if there are none.
func remaining(r shape.Report) error {
	var errs []string
	if len(r.Lasting) > 0 {
		errs = append(errs, shape.List(r.Lasting)+": NATS does not take that back, and events may be removed or stored in ways that nobody is told of; "+
			"back the stream up, delete it and restore it with another configuration (docs/operations.md, What may be changed in NATS)")
	}
	if len(r.Limits) > 0 {
		errs = append(errs, shape.List(r.Limits)+" by the configuration of this gateway: another gateway has another one, or somebody edited the stream; "+
			"make them equal, then restart a gateway or send it SIGHUP")
	}
	if errs == nil {
		return nil
	}
	return errors.New(strings.Join(errs, "; "))
}

// JetStream's error codes for limits that can prevent the creation of a stream.
const (
	tooManyStreams  = 10027
	accountResource = 10002
	storageResource = 10047
)

// noRoom explains an error that says that there is no room for a stream. JetStream reserves the bytes of a stream when it
// is created.
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

// overlaps is JetStream's error code for subjects that belong to another stream.
const overlaps = 10065

// whyNot explains why a stream cannot be created.
func (l *Log) whyNot(ctx context.Context, want jetstream.StreamConfig, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != overlaps {
		return noRoom(want, err)
	}
	other := "another stream"
	if names, listErr := l.namesOf(ctx, want.Subjects[0]); listErr == nil && len(names) > 0 {
		other = "the stream " + strings.Join(names, " and ")
	}
	return fmt.Errorf("%s has the subjects %s; set nats.prefix so that Sluice uses others, or change or delete that stream: %w", other, want.Subjects[0], err)
}

// epochOf returns the epoch of a stream. It changes when the stream is created again, and when a gateway writes an override
// because offsets may be used a second time.
func epochOf(info *jetstream.StreamInfo, override string) string {
	e := info.Config.Metadata[epochKey] + bornAt(info)
	if override != "" {
		e += "-" + override
	}
	return e
}

// bornAt returns the part of the epoch that depends on when the stream was created.
func bornAt(info *jetstream.StreamInfo) string {
	return "-" + strconv.FormatInt(info.Created.UnixMilli(), 36)
}

// epochs is the bucket of epoch overrides.
type epochs struct {
	store  kv.Store
	bucket string
}

func openEpochs(ctx context.Context, l *Log) (*epochs, error) {
	o := l.opt.epochsBucket()
	store, err := l.openBucket(ctx, o)
	if err != nil {
		return nil, err
	}
	return &epochs{store, o.Name}, nil
}

func (o *Options) epochsBucket() kv.BucketOptions {
	return kv.BucketOptions{Name: o.bucketPrefix() + "sluice_epochs", Replicas: o.Replicas}
}

// get returns the override of an app, empty if there is none.
func (e *epochs) get(ctx context.Context, app string) (string, uint64, error) {
	entry, err := e.store.Get(ctx, name.Key(app))
	if errors.Is(err, kv.ErrNotFound) {
		return "", 0, nil
	}
	return string(entry.Value), entry.Revision, err
}

// renew writes a new override, unless another gateway did so since old was read. It returns the override that is stored.
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
