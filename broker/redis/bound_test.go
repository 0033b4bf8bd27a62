package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestAgeBoundsAChannel: before, a channel that got new events again and again kept all of them, and with -1
// messages it grew until the server was full.
func TestAgeBoundsAChannel(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]int64{"with -1 messages": -1, "with a number": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			l := open(t, server.URL(), false, silent, func(o *Options) {
				o.Apps = []AppOptions{{ID: "app-1", MaxMessages: most, MaxAge: time.Hour}}
			})
			w := attachTo(t, l, "c")
			k := l.keys.channel("app-1", "c")
			var offsets []uint64
			for i := range 10 {
				offsets = append(offsets, publishOne(t, l, "c", fmt.Sprint(i)))
			}
			if n := server.Do("XLEN " + k.stream); n != ":10" {
				t.Fatalf("%s events are kept, and none is old", n)
			}
			growOld(t, l, k, 2*time.Hour)
			epoch := l.apps.Of("app-1").currentEpoch()
			// Each new event removes two old ones.
			for i := range 5 {
				offsets = append(offsets, publishOne(t, l, "c", fmt.Sprint("new ", i)))
			}
			until(t, "all are delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == len(offsets) })
			if _, gaps := w.seen(); len(gaps) > 0 {
				t.Errorf("gaps %+v", gaps)
			}
			r, err := l.Retained(t.Context(), "app-1", "c")
			if err != nil || r.Messages != 5 || r.Oldest != offsets[10] {
				t.Errorf("%+v, %v are kept, want the 5 from %d on", r, err, offsets[10])
			}
			for i, want := range map[int]error{3: broker.ErrPositionExpired, 9: nil, 12: nil} {
				if _, err := l.After(t.Context(), "app-1", "c", broker.Position{Epoch: epoch, Offset: offsets[i]}, 10); !errors.Is(err, want) {
					t.Errorf("after number %d: %v, want %v", i, err, want)
				}
			}
			if lost, err := l.Lost(t.Context(), "app-1", "c", time.Now().Add(-time.Minute)); lost || err != nil {
				t.Errorf("lost within the age: %v, %v", lost, err)
			}
			if lost, err := l.Lost(t.Context(), "app-1", "c", time.Time{}); !lost || err != nil {
				t.Errorf("lost at all: %v, %v", lost, err)
			}
			// Young events are not checked again and again.
			before := server.Lines("HGET " + k.meta + " o")
			publishOne(t, l, "c", "x")
			if now := server.Lines("HGET " + k.meta + " o"); strings.Join(now, " ") != strings.Join(before, " ") {
				t.Errorf("the oldest was looked at: %q, before %q", now, before)
			}
		})
	}
}

// growOld moves all events of a channel, and its hash, back in time.
func growOld(t *testing.T, l *Log, k channelKeys, by time.Duration) {
	t.Helper()
	err := rueidis.NewLuaScript(`
local all = redis.call('XRANGE', KEYS[1], '-', '+')
redis.call('DEL', KEYS[1])
for _, e in ipairs(all) do
  e[2][4] = string.format('%.0f', tonumber(e[2][4]) - tonumber(ARGV[1]))
  redis.call('XADD', KEYS[1], e[1], unpack(e[2]))
end
for _, f in ipairs({'t', 'o'}) do
  local at = redis.call('HGET', KEYS[2], f)
  if at then redis.call('HSET', KEYS[2], f, string.format('%.0f', tonumber(at) - tonumber(ARGV[1]))) end
end
return 1
`).Exec(t.Context(), l.pub, []string{k.stream, k.meta}, []string{strconv.FormatInt(by.Microseconds(), 10)}).Error()
	if err != nil {
		t.Fatal(err)
	}
}
