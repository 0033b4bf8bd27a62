package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestDecoderRefusesWhatIsNoFrame(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"nothing", ""},
		{"half an object", `{"event":"a"`},
		{"an array", `["event"]`},
		{"an event that is no string", `{"event":1}`},
		{"no event", `{"channel":"a"}`},
		{"text that is not UTF-8", "{\"event\":\"\xff\"}"},
	} {
		if _, err := NewDecoder(pusher.V1, 0, 0).Decode(c.text); !errors.Is(err, ErrBadFrame) {
			t.Errorf("%s: got %v, want ErrBadFrame", c.name, err)
		}
	}
}

func TestDecoderRefusesDeltas(t *testing.T) {
	full, next := marked("BTC", 10, 1), marked("BTC", 12, 2)
	good := deltaFrame(next, full, 12, 10, "BTC")
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"from a base of another key", deltaFrame(next, full, 12, 10, "ETH"), errNoBase},
		{"from a number that was never sent", deltaFrame(next, full, 12, 11, "BTC"), errNoBase},
		{"that rebuild another number", deltaFrame(next, full, 13, 10, "BTC"), errNumbers},
		{"in an unknown format", strings.Replace(good, "fossil", "gzip", 1), errAlgorithm},
		{"that are no base64", strings.Replace(good, `"delta":"`, `"delta":"!`, 1), nil},
		{"of another base text", deltaFrame(next, strings.Replace(full, "Zürich", "Zurich", 1), 12, 10, "BTC"), nil},
	} {
		d := NewDecoder(pusher.V1, 0, 0)
		if _, err := d.Decode(full); err != nil {
			t.Fatal(err)
		}
		_, err := d.Decode(c.text)
		var failed *DeltaError
		if !errors.As(err, &failed) || failed.Channel != "market" || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if _, err := d.Decode(good); !errors.Is(err, errNoBase) {
			t.Errorf("%s: the bases were not forgotten: %v", c.name, err)
		}
	}
}

func TestDecoderRebuildsEveryText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDecoder(pusher.V1, 0, 0)
		texts := map[string][]string{}
		number := uint32(0)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			key := rapid.SampledFrom([]string{"", "a", `q"é`}).Draw(t, "key")
			number += uint32(rapid.IntRange(1, 5).Draw(t, "step"))
			text := string(pusher.AppendMarked(nil, pusher.V1, &pusher.EventFrame{
				Event: "tick", Channel: "market", EmbedData: true,
				Data: []byte(`{"n":` + fmt.Sprint(number) + `,"s":` + string(pusher.AppendString(nil, rapid.StringN(0, 40, 100).Draw(t, "text"))) + `}`),
			}, pusher.Mark{Sequence: number, Keyed: true, Key: key}))
			sent, form := text, Full
			if held := texts[key]; len(held) > 0 && rapid.Bool().Draw(t, "as delta") {
				back := rapid.IntRange(1, min(len(held), basesPerKey)).Draw(t, "back")
				base := held[len(held)-back]
				f, err := parse(base)
				if err != nil {
					t.Fatal(err)
				}
				sent, form = deltaFrame(text, base, number, f.event.Number, "\x00"), Delta
				sent = strings.Replace(sent, `"\x00"`, string(pusher.AppendString(nil, key)), 1)
			}
			ev, err := d.Decode(sent)
			if err != nil {
				t.Fatalf("%s: %v", sent, err)
			}
			if ev.Frame != text || ev.Form != form || ev.Key != key || ev.Number != number {
				t.Fatalf("got %+v for %s", ev, text)
			}
			texts[key] = append(texts[key], text)
		}
	})
}

// TestBasesAgainstALog compares the bounded store with a plain list of the kept texts.
func TestBasesAgainstALog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4000
		b := newBases(limit)
		type entry struct {
			place
			base
		}
		var log []entry
		channels, keys := rapid.SampledFrom([]string{"c", "d"}), rapid.SampledFrom([]string{"", "k", "l"})
		for n := range rapid.IntRange(1, 200).Draw(t, "steps") {
			c := channels.Draw(t, "channel")
			if rapid.IntRange(0, 40).Draw(t, "action") == 0 {
				b.forget(c)
				for i := range log {
					if log[i].channel == c {
						log[i].text = ""
					}
				}
				continue
			}
			e := entry{place{c, keys.Draw(t, "key")}, base{uint32(n), strings.Repeat("x", rapid.IntRange(1, 60).Draw(t, "length"))}}
			b.keep(e.channel, e.key, e.number, e.text)
			log = append(log, e)
		}
		perPlace, total := map[place]int{}, 0
		for i := len(log) - 1; i >= 0; i-- {
			e := log[i]
			perPlace[e.place]++
			got, ok := b.find(e.channel, e.key, e.number)
			switch {
			case ok && got != e.text:
				t.Fatalf("base %d is %q, want %q", e.number, got, e.text)
			case ok && perPlace[e.place] > basesPerKey:
				t.Fatalf("base %d is held although %d newer ones are", e.number, basesPerKey)
			case !ok && i == len(log)-1 && e.text != "":
				t.Fatal("the newest base is not held")
			}
			total += len(got)
		}
		if b.size != total {
			t.Fatalf("counted %d bytes, hold %d", b.size, total)
		}
		if b.size > limit && len(b.values) > 1 {
			t.Fatalf("%d bytes are held, the limit is %d", b.size, limit)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	full := marked("BTC", 10, 1)
	f.Add(full)
	f.Add(deltaFrame(marked("BTC", 12, 2), full, 12, 10, "BTC"))
	f.Add(`{"event":"pusher:delta","channel":"market","data":{"delta":"NQo1OnNob3J0M2NRNnluOw==","base_index":10,"algorithm":"fossil","conflation_key":"BTC"}}`)
	f.Add(`{"event":"pusher:delta"}`)
	f.Add(`{"event":"a","data":null,"sequence":-1.5,"conflation_key":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := NewDecoder(pusher.V1, 1<<16, 1<<12)
		if _, err := d.Decode(full); err != nil {
			t.Fatal(err)
		}
		ev, err := d.Decode(text)
		if err == nil && ev.Form != Delta && ev.Frame != text {
			t.Errorf("the text was changed: %q", ev.Frame)
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	full, next := marked("BTC", 10, 1), marked("BTC", 12, 2)
	forms := map[string]string{"full": full, "delta": deltaFrame(next, full, 12, 10, "BTC")}
	for _, name := range []string{"full", "delta"} {
		b.Run(name, func(b *testing.B) {
			d := NewDecoder(pusher.V1, 0, 0)
			b.ReportAllocs()
			for range b.N {
				// Each round keeps a base, so the needed base is decoded again.
				if _, err := d.Decode(full); err != nil {
					b.Fatal(err)
				}
				if _, err := d.Decode(forms[name]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
