package streams

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestWeeks01WhatCannotBeConfirmedIsTriedAgain: settings that were put back are sent again until they are
// confirmed, also to a server that is slow to answer.
func TestWeeks01WhatCannotBeConfirmedIsTriedAgain(t *testing.T) {
	away := errors.New("away")
	for name, c := range map[string]struct {
		fails  int
		with   error
		closed time.Duration
		want   error
		tries  int
		took   time.Duration
	}{
		"at once":            {tries: 1, took: 2 * time.Second},
		"the third time":     {fails: 2, with: away, tries: 3, took: 4 * time.Second},
		"never":              {fails: 1000, with: away, want: away, tries: confirmTries, took: 2*time.Second + (confirmTries-1)*time.Second},
		"the stream is gone": {fails: 1000, with: jetstream.ErrStreamNotFound, want: jetstream.ErrStreamNotFound, tries: 1, took: 2 * time.Second},
		"the log is closed":  {fails: 1000, with: away, closed: 3500 * time.Millisecond, want: context.DeadlineExceeded, tries: 2, took: 3500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			if c.closed > 0 {
				ctx, cancel = context.WithTimeout(context.Background(), c.closed)
			}
			defer cancel()
			began, tries := time.Now(), 0
			err := insistAfter(ctx, 2*time.Second, func() error {
				if tries++; tries <= c.fails {
					return c.with
				}
				return nil
			})
			if took := time.Since(began); !errors.Is(err, c.want) || tries != c.tries || took != c.took {
				t.Errorf("%s: got %v with %d tries after %v, want %v with %d after %v", name, err, tries, took, c.want, c.tries, c.took)
			}
		})
	}
}
