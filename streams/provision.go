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

// headerRoom is what a stored message may have beyond its data.
const headerRoom = 64 << 10

// epochKey names the epoch in the metadata of a stream.
const epochKey = "epoch"

// idWindow is how long the id of an event is remembered, if events live that long.
const idWindow = 2 * time.Minute

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
		MaxMsgSize: int32(l.maxData() + headerRoom),
		Duplicates: min(idWindow, a.MaxAge),
		// Messages of a channel must disappear oldest first: the continuity of
		// history rests on it. Deleting in the middle would break it.
		AllowDirect: true, DenyDelete: true, AllowAtomicPublish: l.atomic(a),
		RePublish: &jetstream.RePublish{Source: root, Destination: live},
	}
}

// ofApps are the rules for streams of apps: nothing here needs consumers or purges.
var ofApps = shape.Options{"MaxConsumers": shape.Free, "ConsumerLimits": shape.Free, "DenyPurge": shape.Free}

// rulesOf are the rules for the stream of an app. Where batches are never stored as a whole,
// the stream may take them all the same, and an old server does not know the setting.
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

// provision creates the stream of an app, or puts back what is not as it must be. Its limits
// it adapts only if it may: gateways with different settings would otherwise adapt them in
// turns for ever. An error that is errFinal comes with the stream as it is. The caller has
// the turn.
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

// holdKey, in the metadata of the log of gateways, keeps missing streams from being made while
// somebody is about to restore them.
const holdKey = "hold"

// held is an error as long as streams are not to be made.
func (l *Log) held(ctx context.Context) error {
	gateways := streamName(l.opt.Prefix, broker.GatewaysApp)
	s, err := l.js.Stream(ctx, gateways)
	if err != nil || s.CachedInfo().Config.Metadata[holdKey] == "" {
		return nil
	}
	return fmt.Errorf("it is not made anew as long as the stream %s has the metadata %s: restore it, then nats stream edit %s -f --metadata %s=",
		gateways, holdKey, gateways, holdKey)
}

// recognise says whether a stream is that of an app, and completes what it should be by the
// mark that names its life: the one that it has, or that it had before somebody removed it.
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

// lostMark is the mark of a stream from which somebody removed it, empty if it is not known.
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

// putBack updates a stream to what it must be.
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
		// Somebody removed it again before the answer was made.
		now.Config.Metadata = found.Config.Metadata
	}
	if adapt {
		l.opt.Logger.Info("adapting the settings of a stream", "stream", name, "settings", what)
		return now, nil
	}
	l.noteMended(name, what)
	a.disturbed()
	// What was not delivered meanwhile is read from the log.
	a.poke()
	return now, nil
}

// errFinal says that a stream has settings with which it cannot be used, and which NATS does
// not change any more.
var errFinal = errors.New("NATS does not take that back: back the stream up, delete it and restore it with another configuration " +
	"(docs/operations.md, What may be changed in NATS), or set nats.prefix to use another one")

// remaining says which settings differ and are left so, nil if none.
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

// overlaps is JetStream's error code for a stream whose subjects another one has.
const overlaps = 10065

// whyNot says in our words why a stream cannot be made.
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

// epochOf names the life of a stream: it changes when the stream is created anew,
// and when somebody wrote an override because offsets may come again.
func epochOf(info *jetstream.StreamInfo, override string) string {
	e := info.Config.Metadata[epochKey] + bornAt(info)
	if override != "" {
		e += "-" + override
	}
	return e
}

// bornAt ends the name of a stream's life.
func bornAt(info *jetstream.StreamInfo) string {
	return "-" + strconv.FormatInt(info.Created.UnixMilli(), 36)
}

// epochs is the bucket of overrides.
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
