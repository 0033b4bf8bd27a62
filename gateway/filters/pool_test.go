package filters

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

func TestAFilterIsKeptOnceForAsLongAsItIsUsed(t *testing.T) {
	var pool Pool
	if f, err := pool.Take(""); f != nil || err != nil {
		t.Errorf("no filter is %v, %v", f, err)
	}
	if _, err := pool.Take(`{"key":`); err == nil || pool.Size() != 0 {
		t.Errorf("a broken filter: %v, %d bytes are kept", err, pool.Size())
	}
	a, err := pool.Take(`{"events":["x"]}`)
	if err != nil {
		t.Fatal(err)
	}
	size := pool.Size()
	same, err := pool.Take(`{"events":["x"]}`)
	if err != nil || same != a || pool.Size() != size {
		t.Errorf("the same is another one: %v, %d bytes, want %d", err, pool.Size(), size)
	}
	pool.Drop(a)
	if pool.Size() != size {
		t.Error("it went although somebody has it")
	}
	pool.Drop(same)
	pool.Drop(nil)
	if pool.Size() != 0 {
		t.Errorf("%d bytes are kept for nobody", pool.Size())
	}
}

func TestAConnectionHasABoundOfFilters(t *testing.T) {
	var pool Pool
	take := func(event string) (*Own, func(limit int) error, func()) {
		f, err := pool.Take(`{"events":["` + event + `"]}`)
		if err != nil {
			t.Fatal(err)
		}
		var own Own
		return &own, func(limit int) error { return own.Fits(f, nil, limit) }, func() { own.Swap(f, nil) }
	}
	own, fits, have := take(strings.Repeat("x", 50))
	if err := fits(10); err == nil || !strings.Contains(err.Error(), "max_bytes_per_connection") {
		t.Errorf("too large a filter: %v", err)
	}
	have()
	if err := fits(10); err != nil {
		t.Errorf("one that the connection has already: %v", err)
	}
	small, err := pool.Take(`{"events":["y"]}`)
	if err != nil {
		t.Fatal(err)
	}
	for f := range own.users {
		if err := own.Fits(small, f, small.Size()); err != nil {
			t.Errorf("in place of a larger one: %v", err)
		}
		own.Swap(small, f)
	}
	if own.bytes != small.Size() {
		t.Errorf("it has %d bytes, want %d", own.bytes, small.Size())
	}
	own.Swap(nil, small)
	if own.bytes != 0 || len(own.users) != 0 {
		t.Errorf("%d bytes and %d filters are left", own.bytes, len(own.users))
	}
}
