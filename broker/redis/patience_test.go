package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestWeeks04DoorsWaitForAServer: while a server may answer in a moment, requests for history, attachments
// and the table wait for the answer. Lasting errors are returned at once.
func TestWeeks04DoorsWaitForAServer(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	for i, c := range answers {
		t.Run(fmt.Sprintf("%.20s", c.answer), func(t *testing.T) {
			t.Parallel()
			f := newFront(t, strings.TrimPrefix(server.URL(), "redis://"))
			l := open(t, f.url(), false, func(o *Options) { o.PublishTimeout = time.Hour })
			table, err := l.OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			channel, key := fmt.Sprint("doors-", i), fmt.Sprint("doors.", i)
			stored, err := l.Publish(t.Context(), "app-1", plain(channel, "x"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Put(t.Context(), key, []byte("x"), 0); err != nil {
				t.Fatal(err)
			}
			doors := map[string]func(context.Context) error{
				"a page": func(ctx context.Context) error {
					page, err := l.Read(ctx, "app-1", channel, broker.Query{Limit: 10})
					return wants(err, func() bool { return len(page.Publications) == 1 })
				},
				"what follows": func(ctx context.Context) error {
					page, err := l.After(ctx, "app-1", channel, stored[0].Position, 10)
					return wants(err, func() bool { return len(page.Publications) == 0 })
				},
				"what there is": func(ctx context.Context) error {
					has, err := l.Retained(ctx, "app-1", channel)
					return wants(err, func() bool { return has.Messages == 1 })
				},
				"the channels": func(ctx context.Context) error {
					all, err := l.Channels(ctx, "app-1", channel)
					return wants(err, func() bool { return len(all) >= 1 })
				},
				"a record": func(ctx context.Context) error {
					_, err := table.Read(ctx, key)
					return err
				},
				"records": func(ctx context.Context) error {
					all, err := table.List(ctx, key)
					return wants(err, func() bool { return len(all) == 1 })
				},
			}
			f.answer.Store(c.answer)
			if c.lasts {
				for name, ask := range doors {
					if err := ask(t.Context()); !errors.Is(err, broker.ErrUnavailable) && !errors.Is(err, kv.ErrUnavailable) {
						t.Errorf("%s: got %v", name, err)
					}
				}
				return
			}
			doors["a new follower"] = func(ctx context.Context) error {
				at, err := l.Attach(ctx, "app-1", channel, &witness{})
				return wants(err, func() bool { at.Detach(); return at.Position().Offset == stored[0].Offset })
			}
			type said struct {
				name string
				err  error
			}
			done := make(chan said, len(doors))
			for name, ask := range doors {
				go func() { done <- said{name, ask(t.Context())} }()
			}
			before := f.asked.Load()
			until(t, "it was asked again and again", func() bool { return f.asked.Load() >= before+50 || len(done) > 0 })
			f.answer.Store("")
			for range doors {
				if s := <-done; s.err != nil {
					t.Errorf("%s: %v", s.name, s.err)
				}
			}
		})
	}
}

// wants returns err, or an error if holds is false.
func wants(err error, holds func() bool) error {
	if err == nil && !holds() {
		return errors.New("it is something else")
	}
	return err
}
