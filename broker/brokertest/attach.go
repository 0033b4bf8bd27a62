package brokertest

import (
	"errors"
	"math/rand/v2"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testAttach(t *testing.T, b *backend) {
	app := b.Apps[0]

	t.Run("the position of a quiet channel is proven by what follows", func(t *testing.T) {
		for name, history := range map[string][]string{"empty": nil, "with history": number(5)} {
			channel := b.fresh()
			for _, pos := range publish(t, b.Log, app, channel, history...) {
				settle(t, b.Log, app, channel, pos)
			}
			sink, at := attach(t, b.Log, app, channel)
			newest := publish(t, b.Log, app, channel, "new", "newer")[1]
			live := sink.await(t, newest.Offset)
			settle(t, b.Log, app, channel, newest)
			page := after(t, b.Log, app, channel, at.Position(), 100)
			if diff := cmp.Diff(offsetsOf(page.Publications), offsetsOf(live)); diff != "" {
				t.Errorf("%s channel: After the position (-) and live (+):\n%s", name, diff)
			}
		}
	})

	t.Run("an attachment knows whether its channel has anything", func(t *testing.T) { testEmptiness(t, b) })

	// A quiet log cannot show whether an attachment is exact, so publishers and attachments race in many
	// rounds of different shape. The receipts tell afterwards what each sink had to receive.
	t.Run("under concurrent publishing each sink gets exactly what is above its position", func(t *testing.T) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		rounds := 25
		if testing.Short() {
			rounds = 5
		}
		for range rounds {
			raceAttach(t, b, rand.New(rand.NewPCG(rng.Uint64(), 1)))
		}
	})
}

// testEmptiness checks Emptiness of a channel that is empty beside one with events, then gets an event and
// loses it.
func testEmptiness(t *testing.T, b *backend) {
	app, channel, other := b.Apps[0], b.fresh(), b.fresh()
	settle(t, b.Log, app, other, publish(t, b.Log, app, other, number(5)...)[4])
	check := func(when string, want bool) broker.Position {
		t.Helper()
		at, err := b.Log.Attach(t.Context(), app, channel, newRecorder())
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
		if got := at.(broker.Emptiness).Empty(); got != want {
			t.Errorf("%s, at %d: empty %t, want %t", when, at.Position().Offset, got, want)
		}
		return at.Position()
	}
	check("before the first event", true)
	before := check("asked again", true)
	pos := publish(t, b.Log, app, channel, "first")[0]
	settle(t, b.Log, app, channel, pos)
	check("with an event", false)
	if got := offsetsOf(after(t, b.Log, app, channel, before, 10).Publications); len(got) != 1 || got[0] != pos.Offset {
		t.Errorf("after %d came %v, want %d", before.Offset, got, pos.Offset)
	}
	sink, _ := attach(t, b.Log, app, channel)
	live := publish(t, b.Log, app, channel, "second")[0]
	sink.await(t, live.Offset)
	settle(t, b.Log, app, channel, live)
	check("while it is followed", false)
}

func raceAttach(t *testing.T, b *backend, rng *rand.Rand) {
	t.Helper()
	app, channel := b.Apps[0], b.fresh()
	publishers := 1 + rng.IntN(3)
	each := 3 + rng.IntN(channelRoom/3-3)
	attachments := 1 + rng.IntN(6)

	var mu sync.Mutex
	var stored []broker.Position
	var failed []error
	progress := make(chan struct{}, publishers*each) // one token per publication
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for left := each; left > 0; {
				n := 1
				if left > 4 && each%2 == 0 {
					n = 3
				}
				out := make([]broker.Outgoing, n)
				for i := range out {
					out[i] = broker.Outgoing{Channel: channel, Event: text("x")}
				}
				rs, err := b.Log.Publish(t.Context(), app, out...)
				mu.Lock()
				failed = append(failed, err)
				for _, r := range rs {
					stored = append(stored, r.Position)
				}
				mu.Unlock()
				for range n {
					progress <- struct{}{}
				}
				left -= n
			}
		})
	}

	type attached struct {
		sink *recorder
		at   broker.Attachment
	}
	var all []attached
	for range attachments {
		// Attach after a random share of what remains to be published.
		for range rng.IntN(publishers*each/attachments + 1) {
			<-progress
		}
		sink, at := attach(t, b.Log, app, channel)
		all = append(all, attached{sink, at})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	sort.Slice(stored, func(i, j int) bool { return stored[i].Offset < stored[j].Offset })
	// One more, so that every sink has something to wait for.
	stored = append(stored, publish(t, b.Log, app, channel, "end")...)
	newest := stored[len(stored)-1].Offset

	for i, x := range all {
		var want []uint64
		var prevs []uint64
		for k, p := range stored {
			if p.Offset > x.at.Position().Offset {
				want = append(want, p.Offset)
				prev := uint64(0)
				if k > 0 {
					prev = stored[k-1].Offset
				}
				prevs = append(prevs, prev)
			}
		}
		pubs := x.sink.await(t, newest)
		if diff := cmp.Diff(offsetsOf(pubs), want); diff != "" {
			t.Fatalf("attachment %d at %+v got (-) and should have (+):\n%s", i, x.at.Position(), diff)
		}
		for k, p := range pubs {
			if p.Prev != prevs[k] {
				t.Fatalf("attachment %d: publication %d says that %d was before it, want %d",
					i, p.Offset, p.Prev, prevs[k])
			}
		}
	}
}
