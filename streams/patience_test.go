package streams

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

// TestWhatIsWorthWaitingFor: a request is repeated after errors that may pass in a moment. Errors that
// waiting does not change are returned at once.
func TestWhatIsWorthWaitingFor(t *testing.T) {
	read := func(err error) error { return unavailable("reading the log", err) }
	answered := func(code int, number jetstream.ErrorCode) error {
		return read(&jetstream.APIError{Code: code, ErrorCode: number, Description: "d"})
	}
	status := func(code string) error { return status(&nats.Msg{Header: nats.Header{"Status": {code}}}) }
	table := func(err error) error { return fmt.Errorf("list seat.>: %w: %w", kv.ErrUnavailable, err) }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing is wrong":                   {nil, false},
		"nobody answers":                     {read(nats.ErrNoResponders), true},
		"nobody answers a direct get":        {status("503"), true},
		"no answer came":                     {read(context.DeadlineExceeded), true},
		"no answer came to the library":      {read(nats.ErrTimeout), true},
		"an answer was cut short":            {read(errors.New("the answer did not come to its end")), true},
		"a replica is behind":                {read(errStale), true},
		"the connection is closed":           {read(nats.ErrConnectionClosed), true},
		"the leader is not known":            {answered(503, 10009), true},
		"the cluster is not available":       {answered(503, 10008), true},
		"too few servers":                    {answered(500, 10023), true},
		"a server has an error":              {answered(500, 10049), true},
		"the stream vanished":                {read(fmt.Errorf("%w: d", errNoStream)), true},
		"the stream vanished for the admin":  {read(jetstream.ErrStreamNotFound), true},
		"the table cannot be read":           {table(nats.ErrNoResponders), true},
		"the table has no leader":            {table(answered(503, 10008)), true},
		"a request that the server refuses":  {answered(400, 10003), false},
		"a direct get that it refuses":       {status("408"), false},
		"a permission is missing":            {&broker.Refused{Reason: "r", Cause: read(errors.New("denied"))}, false},
		"no room for subscriptions":          {unavailable("attaching", errCrowded), false},
		"the log is closed":                  {broker.ErrClosed, false},
		"the log was closed on the way":      {fmt.Errorf("%w: %w", broker.ErrClosed, read(nats.ErrConnectionClosed)), false},
		"the caller has gone":                {context.Canceled, false},
		"the time of the caller is over":     {context.DeadlineExceeded, false},
		"the position expired":               {broker.ErrPositionExpired, false},
		"the position is of another life":    {broker.ErrEpochChanged, false},
		"the question makes no sense":        {broker.ErrInvalidQuery, false},
		"nobody knows the app":               {broker.ErrUnknownApp, false},
		"the table does not have it":         {kv.ErrNotFound, false},
		"somebody else was quicker":          {kv.ErrConflict, false},
		"what lasts, although it is one day": {&broker.Refused{Reason: "r", Cause: broker.ErrUnavailable}, false},
	} {
		if got := worthWaiting(c.err); got != c.want {
			t.Errorf("%s: %v is worth waiting: %v", name, c.err, got)
		}
	}
}

// TestAReadWaits: in synthetic time, a read is repeated until it is answered, and ends with its caller's
// context, its log or its time-out.
func TestAReadWaits(t *testing.T) {
	away := unavailable("reading the log", nats.ErrNoResponders)
	for name, c := range map[string]struct {
		// answers is the time after which an attempt succeeds; takes is how long each attempt takes.
		answers, takes          time.Duration
		canceled, ended, closed time.Duration
		patience                time.Duration
		want                    error
		least, most             time.Duration
	}{
		"at once":                            {want: nil, most: 0},
		"after an election":                  {answers: 4 * time.Second, patience: 10 * time.Second, least: 4 * time.Second, most: 4*time.Second + longestWait},
		"never":                              {answers: time.Hour, patience: 10 * time.Second, want: broker.ErrUnavailable, least: 10 * time.Second, most: 10*time.Second + longestWait},
		"never, and publishes wait less":     {answers: time.Hour, patience: time.Second, want: broker.ErrUnavailable, least: 5 * time.Second, most: 5*time.Second + longestWait},
		"an attempt that has begun may end":  {answers: 6 * time.Second, takes: 6 * time.Second, patience: 10 * time.Second, least: 12 * time.Second, most: 13 * time.Second},
		"the caller leaves":                  {answers: time.Hour, canceled: 3 * time.Second, patience: time.Minute, want: context.Canceled, least: 3 * time.Second, most: 3 * time.Second},
		"the time of the caller is over":     {answers: time.Hour, ended: 3 * time.Second, patience: time.Minute, want: broker.ErrUnavailable, least: 3 * time.Second, most: 3 * time.Second},
		"the log is closed":                  {answers: time.Hour, closed: 3 * time.Second, patience: time.Minute, want: broker.ErrClosed, least: 3 * time.Second, most: 3 * time.Second},
		"the log is closed and nobody waits": {answers: time.Hour, closed: time.Nanosecond, takes: time.Second, patience: time.Minute, want: broker.ErrClosed, least: time.Second, most: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &Log{opt: Options{PublishTimeout: c.patience}}
			l.ctx, l.cancel = context.WithCancel(context.Background())
			defer l.cancel()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if c.ended > 0 {
				ctx, cancel = context.WithTimeout(ctx, c.ended)
				defer cancel()
			}
			for after, end := range map[time.Duration]func(){c.canceled: cancel, c.closed: l.cancel} {
				if after > 0 {
					defer time.AfterFunc(after, end).Stop()
				}
			}
			began := time.Now()
			err := l.patiently(ctx, func() error {
				answers := time.Since(began) >= c.answers
				if <-time.After(c.takes); answers {
					return nil
				}
				return away
			})
			if took := time.Since(began); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || took < c.least || took > c.most {
				t.Errorf("%s: got %v after %v, want %v after %v to %v", name, err, took, c.want, c.least, c.most)
			}
		})
	}
}

// TestSilenceEndsARequest: a request without any answer ends soon. Once a first answer has come, the rest has
// the whole time-out of a read.
func TestSilenceEndsARequest(t *testing.T) {
	for name, c := range map[string]struct {
		timeout, comes, want time.Duration
	}{
		"nothing comes":                 {timeout: 5 * time.Second, want: attemptTimeout},
		"something comes":               {timeout: 5 * time.Second, comes: time.Second, want: 5 * time.Second},
		"something comes, but too late": {timeout: 5 * time.Second, comes: 3 * time.Second, want: attemptTimeout},
		"readings have even less":       {timeout: time.Second, want: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := impatient(t.Context(), c.timeout, func() uint64 {
				if c.comes > 0 && time.Since(began) >= c.comes {
					return 1
				}
				return 0
			})
			defer cancel()
			<-ctx.Done()
			if got := time.Since(began); got != c.want || t.Context().Err() != nil {
				t.Errorf("%s: it ended after %v, want %v", name, got, c.want)
			}
		})
	}
}
