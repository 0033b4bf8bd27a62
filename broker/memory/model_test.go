package memory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// model is the log as a plain list, and all that was ever removed from it.
type model struct {
	maxMessages int
	maxAge      time.Duration
	maxBytes    int64
	stored      []modelEntry
	removed     map[string]uint64 // highest removed offset by channel
	counter     uint64
	lastTime    time.Time
	ids         map[string]modelID
}

type modelEntry struct {
	channel string
	data    string
	offset  uint64
	time    time.Time
	size    int64
}

type modelID struct {
	offset uint64
	time   time.Time
}

func (m *model) remove(i int) {
	e := m.stored[i]
	m.removed[e.channel] = max(m.removed[e.channel], e.offset)
	m.stored = slices.Delete(m.stored, i, i+1)
}

func (m *model) of(channel string) (entries []modelEntry) {
	for _, e := range m.stored {
		if e.channel == channel {
			entries = append(entries, e)
		}
	}
	return entries
}

func (m *model) expire(now time.Time) {
	for len(m.stored) > 0 && now.Sub(m.stored[0].time) > m.maxAge {
		m.remove(0)
	}
	for id, at := range m.ids {
		if now.Sub(at.time) > memory.DefaultDedupWindow {
			delete(m.ids, id)
		}
	}
}

func (m *model) publish(now time.Time, channel, id, data string) (offset uint64, duplicate bool) {
	if now.Before(m.lastTime) {
		now = m.lastTime
	}
	m.expire(now)
	if at, ok := m.ids[id]; ok && id != "" {
		return at.offset, true
	}
	m.counter++
	m.lastTime = now
	m.stored = append(m.stored, modelEntry{channel, data, m.counter, now, int64(len(data)+len(id)) + 512})
	if id != "" {
		m.ids[id] = modelID{m.counter, now}
	}
	if mine := m.of(channel); len(mine) > m.maxMessages {
		m.remove(slices.IndexFunc(m.stored, func(e modelEntry) bool { return e.channel == channel }))
	}
	for m.bytes() > m.maxBytes {
		m.remove(0)
	}
	return m.counter, false
}

func (m *model) bytes() (n int64) {
	for _, e := range m.stored {
		n += e.size
	}
	return n
}

// The log is compared with the model over random operations. After may refuse
// more than the model (a channel whose state was freed has forgotten exactly
// what it lost), but must never prove what is not so.
func TestLogAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0).UTC()
		m := &model{
			maxMessages: rapid.IntRange(1, 6).Draw(t, "max messages"),
			maxAge:      time.Minute,
			maxBytes:    int64(rapid.IntRange(1, 12).Draw(t, "max KiB")) << 10,
			removed:     map[string]uint64{},
			ids:         map[string]modelID{},
		}
		log, err := memory.New(memory.Options{
			Apps: []string{"a"}, MaxMessages: m.maxMessages, MaxAge: m.maxAge,
			MaxBytes: m.maxBytes, MaxEventBytes: 256, Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		ctx := context.Background()
		epoch := ""
		channel := rapid.SampledFrom([]string{"x", "y", "z"})
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			ch := channel.Draw(t, "channel")
			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "wait", "read", "after"}).Draw(t, "operation") {
			case "publish":
				id := rapid.SampledFrom([]string{"", "", "i1", "i2"}).Draw(t, "id")
				data := rapid.StringN(0, 40, 200).Draw(t, "data")
				offset, duplicate := m.publish(now, ch, id, data)
				rs, err := log.Publish(ctx, "a", broker.Outgoing{Channel: ch,
					Event: &broker.Event{Data: []byte(data), DedupID: id}})
				if err != nil {
					t.Fatal(err)
				}
				if rs[0].Offset != offset || rs[0].Duplicate != duplicate {
					t.Fatalf("receipt %+v, want offset %d, duplicate %v", rs[0], offset, duplicate)
				}
				epoch = rs[0].Epoch
			case "wait":
				// The clock may also be set back; the log must not mind.
				step := time.Duration(rapid.IntRange(-20, 90).Draw(t, "seconds")) * time.Second
				now = now.Add(step)
			case "read":
				m.expire(now)
				checkRead(t, log, m, ch, rapid.Bool().Draw(t, "backwards"))
			case "after":
				m.expire(now)
				pos := broker.Position{Epoch: epoch, Offset: uint64(rapid.IntRange(0, int(m.counter)+1).Draw(t, "offset"))}
				if epoch != "" {
					checkAfter(t, log, m, ch, pos)
				}
			}
		}
		m.expire(now)
		for _, ch := range []string{"x", "y", "z"} {
			checkRead(t, log, m, ch, false)
		}
		st := log.Stats()
		if st.Messages != len(m.stored) || st.Bytes != m.bytes() {
			t.Fatalf("stats say %d messages and %d bytes, want %d and %d", st.Messages, st.Bytes, len(m.stored), m.bytes())
		}
		held := map[string]bool{}
		for _, e := range m.stored {
			held[e.channel] = true
		}
		if st.Channels != len(held) {
			t.Fatalf("%d channels have state, want %d", st.Channels, len(held))
		}
	})
}

func checkRead(t *rapid.T, log *memory.Log, m *model, ch string, backwards bool) {
	page, err := log.Read(context.Background(), "a", ch, broker.Query{Limit: 1000, NewestFirst: backwards})
	if err != nil {
		t.Fatal(err)
	}
	want := m.of(ch)
	if backwards {
		slices.Reverse(want)
	}
	compare(t, page.Publications, want)
}

func checkAfter(t *rapid.T, log *memory.Log, m *model, ch string, pos broker.Position) {
	page, err := log.After(context.Background(), "a", ch, pos, 1000)
	var want []modelEntry
	for _, e := range m.of(ch) {
		if e.offset > pos.Offset {
			want = append(want, e)
		}
	}
	lost := m.removed[ch] > pos.Offset
	anyLost := uint64(0)
	for _, o := range m.removed {
		anyLost = max(anyLost, o)
	}
	switch {
	case pos.Offset > m.counter:
		if !errors.Is(err, broker.ErrPositionUnknown) {
			t.Fatalf("after %d of %d: got %v, want ErrPositionUnknown", pos.Offset, m.counter, err)
		}
	case lost:
		if !errors.Is(err, broker.ErrPositionExpired) {
			t.Fatalf("after %d, lost up to %d: got %v, want ErrPositionExpired", pos.Offset, m.removed[ch], err)
		}
	case errors.Is(err, broker.ErrPositionExpired) && anyLost > pos.Offset:
	case err != nil:
		t.Fatalf("after %d: %v", pos.Offset, err)
	default:
		compare(t, page.Publications, want)
	}
}

func compare(t *rapid.T, pubs []*broker.Publication, want []modelEntry) {
	type row struct {
		Offset uint64
		Data   string
		Time   time.Time
	}
	var got, expect []row
	for _, p := range pubs {
		got = append(got, row{p.Offset, string(p.Data), p.Time})
	}
	for _, e := range want {
		expect = append(expect, row{e.offset, e.data, e.time})
	}
	if diff := cmp.Diff(got, expect, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("got (-) and want (+):\n%s", diff)
	}
}

func ExampleNew() {
	log, err := memory.New(memory.Options{Apps: []string{"app-1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	receipts, err := log.Publish(context.Background(), "app-1", broker.Outgoing{
		Channel: "prices", Event: &broker.Event{Name: "update", Data: []byte("1.5")},
	})
	fmt.Println(receipts[0].Offset, err)
	// Output: 1 <nil>
}
