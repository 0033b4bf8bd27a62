package delta_test

import (
	"testing"

	"github.com/sluicehq/sluice/delta"
	"pgregory.net/rapid"
)

func TestSaltTellsTriplesApart(t *testing.T) {
	seen := map[uint64][3]string{}
	for _, x := range [][3]string{
		{"", "", ""}, {"a", "b", "c"}, {"ab", "", "c"}, {"", "ab", "c"}, {"a", "bc", ""}, {"a", "", "bc"}, {"abc", "", ""},
		{"a", "b", "d"}, {"b", "a", "c"}, {"c", "b", "a"}, {"a\x00", "b", "c"}, {"a", "\x00b", "c"}, {"\x00\x00\x00\x01a", "b", "c"},
	} {
		s := delta.Salt(x[0], x[1], x[2])
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %q have one salt", x, other)
		}
		seen[s] = x
	}
}

// TestSaltStaysWhatItIs: gateways of different versions must compute the same salt.
func TestSaltStaysWhatItIs(t *testing.T) {
	if got, want := delta.Salt("app", "ticker:AAPL", "epoch-1"), uint64(0x2c903b057cbf8d07); got != want {
		t.Errorf("the salt is %#x, want %#x", got, want)
	}
}

func TestDS09_NumbersStayBelow31BitsAndFollowTheOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset, salt := rapid.Uint64().Draw(t, "offset"), rapid.Uint64().Draw(t, "salt")
		n := delta.Number(offset, salt)
		if n >= 1<<31 {
			t.Fatalf("number %d", n)
		}
		if next := delta.Number(offset+1, salt); next != (n+1)&(1<<31-1) {
			t.Fatalf("%d follows %d", next, n)
		}
	})
	if got := delta.Number(5, 1<<31+7); got != 12 {
		t.Errorf("number is %d, want 12", got)
	}
}
