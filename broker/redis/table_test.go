package redis

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
	"github.com/sluicehq/sluice/test/redisserver"
)

func TestTable(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, func(t *testing.T) kv.Table { return tableOf(t, redisserver.Start(t).URL(), false) })
}

func TestTableOnCluster(t *testing.T) {
	t.Parallel()
	c := redisserver.StartCluster(t)
	kvtest.Run(t, func(t *testing.T) kv.Table {
		c.Empty()
		return tableOf(t, c.URL(), true)
	})
}

func tableOf(t *testing.T, url string, cluster bool) kv.Table {
	table, err := open(t, url, cluster).OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestWork(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			var c *redisserver.Cluster
			if cluster {
				c = redisserver.StartCluster(t)
			}
			brokertest.RunWork(t, func(t *testing.T) brokertest.Queues {
				url := ""
				if cluster {
					c.Empty()
					url = c.URL()
				} else {
					url = redisserver.Start(t).URL()
				}
				one, other := open(t, url, cluster).OpenWork(), open(t, url, cluster).OpenWork()
				return brokertest.Queues{One: one, Other: other, Age: func(t *testing.T, queue string) { age(t, one, queue) }}
			})
		})
	}
}

// TestTasksUnderWayAreBoundedInBytes: before, a page of tasks was handed out whole, however large the tasks
// were.
func TestTasksUnderWayAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	w := open(t, redisserver.Start(t).URL(), false).OpenWork()
	const size, most, all = 8 << 20, maxUnder / (8 << 20), maxUnder/(8<<20) + 4
	put := func(n int) {
		for range n {
			if _, err := w.Put(t.Context(), "q", broker.Task{Body: make([]byte, size)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(all - 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	handed := make(chan broker.Taken, all)
	ended := make(chan error, 1)
	go func() { ended <- w.Take(ctx, "q", 100, func(task broker.Taken) { handed <- task }) }()
	until(t, "as many as may be are under way", func() bool { return len(handed) >= most })
	put(2) // meanwhile the rest of the page would have come
	if n := len(handed); n > most {
		t.Fatalf("%d tasks of 8 MiB are under way, want %d", n, most)
	}
	for range most {
		if err := (<-handed).Done(ctx); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the rest is handed out", func() bool { return len(handed) == all-most })
	cancel()
	<-ended
}

// age makes the tasks of a queue older than they are kept. The queue keeps the last identifier it gave out,
// as when time passes: otherwise a task that is put within the same millisecond would get the identifier of
// one that was taken before, and be removed when that one is done.
func age(t *testing.T, w *Work, queue string) {
	t.Helper()
	k := w.keys(queue)
	err := rueidis.NewLuaScript(`
local all = redis.call('XRANGE', KEYS[1], '-', '+')
local last = all[#all][1]
redis.call('DEL', KEYS[1])
for _, e in ipairs(all) do
  local ms, n = string.match(e[1], '^(%d+)-(%d+)$')
  redis.call('XADD', KEYS[1], string.format('%.0f-%s', tonumber(ms) - tonumber(ARGV[1]), n), unpack(e[2]))
end
redis.call('XSETID', KEYS[1], last)
return 1
`).Exec(t.Context(), w.log.pub, []string{k.stream}, []string{milliseconds(workAge + time.Second)}).Error()
	if err != nil {
		t.Fatal(err)
	}
}
