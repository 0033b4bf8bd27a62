package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicehq/sluice/broker"
)

func FuzzDecode(f *testing.F) {
	f.Add(string(encode(&broker.Event{Name: "e", Data: []byte("x")})))
	f.Add(string(encode(&broker.Event{
		Name: "price", Data: []byte(`{"p":1}`), UserID: "u", Tags: map[string]string{"a": "1", "": ""}, Delta: broker.DeltaAlways,
		ConflationKey: "k", HasKey: true, ExcludeSocket: "1.2", MessageID: "m", Extras: []byte(`{}`), Origin: broker.OriginClient, Node: "n",
	})))
	f.Add("\x01\x00\xff\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, s string) {
		ev, err := decode(s)
		if err != nil {
			return
		}
		again, err := decode(string(encode(&ev)))
		if diff := cmp.Diff(again, ev, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("decoded again: %v\n%s", err, diff)
		}
	})
}

func TestEntriesThatAreNotOursAreRefused(t *testing.T) {
	whole := string(encode(&broker.Event{Name: "event", Tags: map[string]string{"a": "b"}}))
	for n := range len(whole) {
		if _, err := decode(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken for an entry", n, len(whole))
		}
	}
	if _, err := decode("\x02" + whole[1:]); err == nil {
		t.Error("an entry of an unknown version was taken")
	}
}

func TestSlotsAreThoseOfRedis(t *testing.T) {
	// These are answers of CLUSTER KEYSLOT.
	for key, want := range map[string]uint16{"foo": 12182, "sluice:{app:chan}:s": slotOf("app:chan"), "123456789": 12739} {
		if got := slotOf(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}
