package kv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/kv/shape"
)

// Limits and defaults of [BucketOptions].
const (
	DefaultMaxValueBytes = 256 << 10
	// MinTTL is the shortest time to live that the server keeps to.
	MinTTL = 100 * time.Millisecond
	// MaxReplicas is what JetStream allows.
	MaxReplicas = 5
)

// headerRoom is what the limit of a stored message leaves for the headers of a
// conditional write, which JetStream counts with the value.
const headerRoom = 1024

// ErrBucketDiffers is wrapped when a bucket of the name exists and is not, and
// cannot safely be made, what was asked for.
var ErrBucketDiffers = errors.New("bucket exists with other settings")

// BucketOptions describe a bucket. Name is required, the zero value of the
// others means their default.
type BucketOptions struct {
	// Name of the bucket, letters, digits, `_` and `-`, at most 128 bytes. The
	// stream behind it is KV_<Name>.
	Name string
	// TTL is how long a value lives after it was written, default for ever, at
	// least [MinTTL] otherwise.
	TTL time.Duration
	// Replicas is the number of servers that hold the bucket, 1 to 5. Default
	// is what an existing bucket has, and 1 for a new one.
	Replicas int
	// MaxBytes bounds the bucket on disk, default unlimited. A full bucket
	// refuses writes; it does not evict.
	MaxBytes int64
	// MaxValueBytes is the largest value, default 256 KiB.
	MaxValueBytes int
	// Republish is a core subject that ends in `.>`. Each write is repeated
	// there once it is stored, with the key for the `>`. Default none.
	Republish string
	// MessageTTL lets each write have a time to live of its own. It cannot be
	// taken back: a bucket that has it keeps it.
	MessageTTL bool
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (o BucketOptions) validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !bucketName.MatchString(o.Name) {
		add("Name is %.140q, must be 1 to 128 of A-Z a-z 0-9 _ -", o.Name)
	}
	if o.TTL != 0 && o.TTL < MinTTL {
		add("TTL is %v, must be 0 or at least %v", o.TTL, MinTTL)
	}
	if o.Replicas < 0 || o.Replicas > MaxReplicas {
		add("Replicas is %d, must be 0 to %d", o.Replicas, MaxReplicas)
	}
	if o.MaxBytes < 0 {
		add("MaxBytes is %d, must not be negative", o.MaxBytes)
	}
	if o.MaxValueBytes < 0 || o.MaxValueBytes > 1<<30 {
		add("MaxValueBytes is %d, must be 0 to %d", o.MaxValueBytes, 1<<30)
	}
	if head, ok := strings.CutSuffix(o.Republish, ".>"); o.Republish != "" && (!ok || !validKey(head)) {
		add("Republish is %.80q, must be a subject that ends in .> and has no other wildcard", o.Republish)
	}
	return errors.Join(problems...)
}

// OpenBucket makes the bucket or finds it. Of a bucket that exists it adjusts
// the time to live, replicas, limits and republishing to the options; it never
// touches one that is stored in memory, keeps a history, or differs in another
// way that the options do not name, and returns [ErrBucketDiffers] instead.
// Other errors: the options' own, [ErrUnavailable], or the context's.
func OpenBucket(ctx context.Context, js JetStream, o BucketOptions) (*Bucket, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("bucket options: %w", err)
	}
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = DefaultMaxValueBytes
	}
	conn := js.Conn()
	store, err := o.open(ctx, js)
	switch {
	case err == nil:
		return &Bucket{name: o.Name, js: js, made: store, conn: conn, maxValue: o.MaxValueBytes, republish: o.Republish}, nil
	case errors.Is(err, ErrBucketDiffers):
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, fmt.Errorf("open bucket %s: %w", o.Name, err)
}

func (o BucketOptions) open(ctx context.Context, js JetStream) (jetstream.KeyValue, error) {
	stream, err := js.Stream(ctx, "KV_"+o.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err := MakeStream(ctx, js, o.config()); err != nil {
			return nil, err
		}
		if stream, err = justMade(ctx, js, "KV_"+o.Name); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	if have.Metadata[ownerKey] != owner {
		if err := o.compatible(have); err != nil {
			return nil, err
		}
	}
	if _, err := o.mend(ctx, js, have, true); err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, o.Name)
}

// justMadeWait bounds how long the servers of a cluster may take to know what was just made.
const justMadeWait = 10 * time.Second

// MakeStream makes a stream, or finds it if another process was quicker, as when several gateways
// start at once; it may differ then. Errors: [ErrUnavailable] if the servers do not know it in
// time, and what JetStream says.
func MakeStream(ctx context.Context, js JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return justMade(ctx, js, want.Name)
	}
	return stream, err
}

// justMade finds a stream that was made a moment ago, here or by another process: the servers of a
// cluster learn of it one after the other, and one that has not yet says that there is none.
func justMade(ctx context.Context, js JetStream, name string) (jetstream.Stream, error) {
	end := time.Now().Add(justMadeWait)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		stream, err := js.Stream(ctx, name)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return stream, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || time.Now().After(end) {
			// Not the answer itself, which says for good that there is none.
			return nil, fmt.Errorf("%w: the stream %s was made, but the servers do not know it yet", ErrUnavailable, name)
		}
	}
}

// MendBucket puts back what somebody changed of a bucket that [OpenBucket] opened with these
// options, and returns which settings that were. It leaves replicas as they are. Errors:
// [ErrBucketDiffers] for what cannot be changed any more, and what JetStream says.
func MendBucket(ctx context.Context, js JetStream, o BucketOptions) (changed string, err error) {
	stream, err := js.Stream(ctx, "KV_"+o.Name)
	if err != nil {
		return "", err
	}
	return o.mend(ctx, js, stream.CachedInfo().Config, false)
}

// ownerKey marks a bucket in the metadata of its stream. One that is marked may be put back
// to what it must be; others may be anybody's.
const ownerKey, owner = "owner", "sluice"

// Compare compares the stream of a bucket with what these options want of it, and changes
// nothing.
func (o BucketOptions) Compare(have jetstream.StreamConfig, adapt bool) shape.Report {
	rules := shape.Options{"DenyPurge": shape.Free}
	if !o.MessageTTL {
		rules["AllowMsgTTL"] = shape.Free
	}
	for _, limit := range []string{"MaxMsgsPerSubject", "MaxAge", "MaxBytes"} {
		rules[limit] = shape.Mended
	}
	if o.Replicas == 0 {
		rules["Replicas"] = shape.Free
	}
	return shape.Compare(have, o.wanted(), rules, adapt)
}

// Wanted is the stream of the bucket as it is made.
func (o BucketOptions) Wanted() jetstream.StreamConfig { return o.config() }

func (o BucketOptions) mend(ctx context.Context, js JetStream, have jetstream.StreamConfig, adapt bool) (string, error) {
	found := o.Compare(have, adapt)
	if len(found.Fatal) > 0 {
		return "", fmt.Errorf("%w: %s", ErrBucketDiffers, shape.List(found.Fatal))
	}
	if len(found.Changed) == 0 {
		return "", nil
	}
	what := shape.List(found.Changed)
	if _, err := js.UpdateStream(ctx, found.Config); err != nil {
		return "", fmt.Errorf("adjust settings (%s): %w", what, err)
	}
	return what, nil
}

// config is the stream of a new bucket. The client library makes none whose writes may have
// times to live without more that comes with it, and the first servers of 2.11 let no stream
// have them later on.
func (o BucketOptions) config() jetstream.StreamConfig {
	c := o.wanted()
	c.Replicas = max(o.Replicas, 1)
	return c
}

// wanted is the stream behind the bucket as it must be.
func (o BucketOptions) wanted() jetstream.StreamConfig {
	window := 2 * time.Minute
	if o.TTL > 0 {
		// The server refuses a longer one.
		window = min(window, o.TTL)
	}
	return jetstream.StreamConfig{
		Name: "KV_" + o.Name, Subjects: []string{"$KV." + o.Name + ".>"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxConsumers: -1, MaxAge: o.TTL, MaxBytes: o.MaxBytes, Replicas: o.Replicas,
		MaxMsgSize: o.maxMessage(), RePublish: o.republish(), AllowMsgTTL: o.MessageTTL,
		AllowDirect: true, AllowRollup: true, DenyDelete: true, Metadata: map[string]string{ownerKey: owner}, Duplicates: window,
	}
}

// maxMessage is the limit of a stored message.
func (o BucketOptions) maxMessage() int32 {
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = DefaultMaxValueBytes
	}
	return int32(o.MaxValueBytes + headerRoom)
}

func (o BucketOptions) republish() *jetstream.RePublish {
	if o.Republish == "" {
		return nil
	}
	return &jetstream.RePublish{Source: "$KV." + o.Name + ".>", Destination: o.Republish}
}

// compatible checks whether a bucket that is not marked may be ours, made by an earlier
// release.
func (o BucketOptions) compatible(have jetstream.StreamConfig) error {
	differs := func(field string, got, want any) error {
		return fmt.Errorf("%w: %s is %v, must be %v", ErrBucketDiffers, field, got, want)
	}
	subject := "$KV." + o.Name + ".>"
	switch {
	case len(have.Subjects) != 1 || have.Subjects[0] != subject:
		return differs("subjects", have.Subjects, subject)
	case have.MaxMsgsPerSubject != 1:
		return differs("history per key", have.MaxMsgsPerSubject, 1)
	case have.Discard != jetstream.DiscardNew:
		return differs("discard policy", have.Discard, jetstream.DiscardNew)
	case have.MaxMsgs > 0:
		return differs("limit of messages", have.MaxMsgs, "none")
	case len(have.Sources) > 0:
		return differs("origin", "another stream", "its own writes")
	}
	return nil
}
