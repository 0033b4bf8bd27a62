package redis

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestTasksAreKeptForADay: before, tasks for a removed address stayed for good, and were sent if the address
// came back after months.
func TestTasksAreKeptForADay(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	w := open(t, server.URL(), false, silent).OpenWork()
	k := w.keys("q")
	for _, age := range []time.Duration{30 * 24 * time.Hour, 25 * time.Hour, 23 * time.Hour} {
		at := strconv.FormatInt(time.Now().Add(-age).UnixMilli(), 10)
		server.Do("XADD " + k.stream + " " + at + "-0 b " + strings.Repeat("x", 10) + " i " + at)
	}
	server.Do("SET " + k.bytes + " 30")
	if _, err := w.Put(t.Context(), "q", broker.Task{ID: "new", Body: []byte("abcde")}); err != nil {
		t.Fatal(err)
	}
	if n := server.Do("XLEN " + k.stream); n != ":2" {
		t.Errorf("%s tasks are kept, want the two of the last day", n)
	}
	if n := server.Do("STRLEN " + k.bytes); n != ":2" {
		t.Errorf("the bytes have %s digits, want 15", n)
	}
	for _, key := range []string{k.stream, k.bytes} {
		ms, err := strconv.ParseInt(strings.TrimPrefix(server.Do("PTTL "+key), ":"), 10, 64)
		if err != nil || ms <= 0 || ms > workAge.Milliseconds() {
			t.Errorf("%s lives for %d ms, %v, want up to a day", key, ms, err)
		}
	}
}
