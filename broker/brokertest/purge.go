package brokertest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testPurge(t *testing.T, b *backend) {
	app := b.Apps[0]
	eraser, ok := b.Log.(broker.Eraser)
	if !ok {
		t.Fatal("the log removes nothing when it is told to")
	}
	purge := func(t *testing.T, channel string, before uint64) broker.Erased {
		t.Helper()
		got, err := eraser.Purge(t.Context(), app, channel, before)
		if err != nil {
			t.Fatalf("Purge(%q, %d): %v", channel, before, err)
		}
		return got
	}
	// retained waits until every replica has the state.
	retained := func(t *testing.T, log broker.Log, channel string, want broker.Retained) {
		t.Helper()
		eventually(t, "the log has what is left", func() bool {
			r, err := log.Retained(t.Context(), app, channel)
			if err != nil {
				t.Fatal(err)
			}
			return r.Epoch == want.Epoch && r.Oldest == want.Oldest && r.Newest == want.Newest && r.Messages == want.Messages
		})
	}
	expired := func(t *testing.T, log broker.Log, channel string, positions ...broker.Position) {
		t.Helper()
		for _, pos := range positions {
			eventually(t, "a position below has expired", func() bool {
				page, err := log.After(t.Context(), app, channel, pos, 100)
				if err != nil && !errors.Is(err, broker.ErrPositionExpired) {
					t.Fatalf("after offset %d: got %v, want ErrPositionExpired", pos.Offset, err)
				}
				// A reader must not get only a part of what followed.
				if err == nil && (len(page.Publications) == 0 || page.Publications[0].Offset != pos.Offset+1) && pos.Offset > 0 {
					t.Fatalf("after offset %d: got %v", pos.Offset, offsetsOf(page.Publications))
				}
				return err != nil
			})
		}
	}

	t.Run("what lies below goes, and nothing else", func(t *testing.T) {
		channel, other := b.fresh(), b.fresh()
		sink, _ := attach(t, b.Log, app, channel)
		kept := publish(t, b.Log, app, other, number(3)...)
		positions := publish(t, b.Log, app, channel, number(10)...)
		settle(t, b.Log, app, channel, positions[9])
		sink.await(t, positions[9].Offset)
		got := purge(t, channel, positions[4].Offset)
		if want := uint64(4 * len(number(1)[0])); got.Messages != 4 || got.Bytes != want {
			t.Errorf("removed %+v, want 4 messages with %d bytes", got, want)
		}
		epoch := positions[0].Epoch
		retained(t, b.Log, channel, broker.Retained{Epoch: epoch, Oldest: positions[4].Offset, Newest: positions[9].Offset, Messages: 6})
		expired(t, b.Log, channel, broker.Position{Epoch: epoch}, positions[0], positions[2])
		for _, from := range []int{4, 6, 9} {
			page := after(t, b.Log, app, channel, positions[from], 100)
			if diff := cmp.Diff(offsetsOf(page.Publications), offsets(positions[from+1:])); diff != "" {
				t.Errorf("after number %d, got (-) and want (+):\n%s", from, diff)
			}
		}
		if again := purge(t, channel, positions[4].Offset); again != (broker.Erased{}) {
			t.Errorf("the second time it removed %+v", again)
		}
		if page := after(t, b.Log, app, other, kept[0], 100); len(page.Publications) != 2 {
			t.Errorf("of another channel %d are left, want 2", len(page.Publications))
		}
		// Attached sinks notice nothing.
		next := publish(t, b.Log, app, channel, "next")[0]
		if pubs := sink.await(t, next.Offset); len(pubs) != 11 {
			t.Errorf("the attachment got %d publications, want 11", len(pubs))
		}
	})

	t.Run("everything goes, and the channel goes on", func(t *testing.T) {
		for name, before := range map[string]uint64{"all": 0, "beyond the end": 1<<53 - 1} {
			channel := b.fresh()
			sink, _ := attach(t, b.Log, app, channel)
			positions := publish(t, b.Log, app, channel, number(5)...)
			settle(t, b.Log, app, channel, positions[4])
			sink.await(t, positions[4].Offset)
			if got := purge(t, channel, before); got.Messages != 5 {
				t.Errorf("%s: removed %+v, want 5", name, got)
			}
			epoch := positions[0].Epoch
			retained(t, b.Log, channel, broker.Retained{Epoch: epoch})
			expired(t, b.Log, channel, broker.Position{Epoch: epoch}, positions[0], positions[3])
			if page := after(t, b.Log, app, channel, positions[4], 10); len(page.Publications) != 0 {
				t.Errorf("%s: after the newest come %v", name, offsetsOf(page.Publications))
			}
			next := publish(t, b.Log, app, channel, "next", "last")
			pubs := sink.await(t, next[1].Offset)
			if diff := cmp.Diff(offsetsOf(pubs), append(offsets(positions), offsets(next)...)); diff != "" {
				t.Errorf("%s: the attachment got (-) and should have (+):\n%s", name, diff)
			}
			settle(t, b.Log, app, channel, next[1])
			if page := after(t, b.Log, app, channel, positions[4], 10); len(page.Publications) != 2 {
				t.Errorf("%s: after the newest of before come %v", name, offsetsOf(page.Publications))
			}
			expired(t, b.Log, channel, positions[3])
		}
	})

	t.Run("a place between publications of other channels expires as well", func(t *testing.T) {
		channel, noise := b.fresh(), b.fresh()
		publish(t, b.Log, app, channel, "first")
		publish(t, b.Log, app, noise, number(3)...)
		_, at := attach(t, b.Log, app, channel)
		missed := publish(t, b.Log, app, channel, "missed", "kept")
		settle(t, b.Log, app, channel, missed[1])
		purge(t, channel, missed[1].Offset)
		retained(t, b.Log, channel, broker.Retained{Epoch: missed[0].Epoch, Oldest: missed[1].Offset, Newest: missed[1].Offset, Messages: 1})
		eventually(t, "the place of attaching has expired", func() bool {
			_, err := b.Log.After(t.Context(), app, channel, at.Position(), 10)
			return errors.Is(err, broker.ErrPositionExpired)
		})
	})

	t.Run("a channel that nobody used", func(t *testing.T) {
		for _, before := range []uint64{0, 1, 100} {
			if got := purge(t, b.fresh(), before); got != (broker.Erased{}) {
				t.Errorf("before %d: removed %+v", before, got)
			}
		}
	})

	t.Run("errors", func(t *testing.T) {
		if _, err := eraser.Purge(t.Context(), b.UnknownApp, "c", 0); !errors.Is(err, broker.ErrUnknownApp) {
			t.Errorf("an unknown app: %v", err)
		}
		if _, err := eraser.Purge(cancelled(), app, "c", 0); err == nil {
			t.Error("a context that has ended is no error")
		}
	})

	t.Run("another node sees it", func(t *testing.T) {
		if b.Second == nil {
			t.Skip("the backend has one node only")
		}
		second := b.Second(t)
		channel := b.fresh()
		sink, _ := attach(t, second, app, channel)
		positions := publish(t, b.Log, app, channel, number(6)...)
		settle(t, second, app, channel, positions[5])
		sink.await(t, positions[5].Offset)
		purge(t, channel, positions[3].Offset)
		retained(t, second, channel, broker.Retained{Epoch: positions[0].Epoch, Oldest: positions[3].Offset, Newest: positions[5].Offset, Messages: 3})
		expired(t, second, channel, positions[0], positions[1])
		next := publish(t, second, app, channel, "next")[0]
		if pubs := sink.await(t, next.Offset); len(pubs) != 7 {
			t.Errorf("the attachment got %d publications, want 7", len(pubs))
		}
	})
}
