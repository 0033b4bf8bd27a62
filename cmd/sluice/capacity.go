package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/process"
)

// capacity is the memory and the descriptors of the process.
type capacity struct {
	memory      *process.Memory
	descriptors *process.Descriptors
}

// leastDescriptors is the minimum for a server with its log.
const leastDescriptors = 48

// measure finds the limits of this machine and completes the configuration with shares of them. It sets the
// memory limit of the collector.
func measure(c *configs.Config) capacity {
	m := process.FindMemory(c.MemoryLimit)
	budget := m.Budget()
	share := func(value *int64, of int64) {
		if *value == 0 {
			*value = max(1<<20, of)
		}
	}
	share(&c.WebSocket.TotalQueueBytes, budget/4)
	share(&c.Delta.TotalBases, budget/8)
	share(&c.Recovery.TotalBytes, budget/16)
	share(&c.WebSocket.TotalMessageBytes, max(budget/16, 16*int64(c.WebSocket.MaxMessage)))
	d := &process.Descriptors{Reserve: c.DescriptorReserve}
	if d.Reserve == 0 {
		d.Reserve = 32 + 2*len(c.Apps)
	}
	if limit := d.Limit(); limit > 0 {
		d.Reserve = min(d.Reserve, limit/2)
	}
	c.Derive("memory.limit", m.Limit)
	c.Derive("websocket.total_queue_bytes", c.WebSocket.TotalQueueBytes)
	c.Derive("websocket.total_message_bytes", c.WebSocket.TotalMessageBytes)
	c.Derive("delta_compression.max_total_base_bytes", c.Delta.TotalBases)
	c.Derive("connection_recovery.max_total_bytes", c.Recovery.TotalBytes)
	c.Derive("descriptors.reserve", int64(d.Reserve))
	return capacity{m, d}
}

// guests returns how many external connections an embedded NATS server accepts.
func (p capacity) guests() int {
	usable := p.descriptors.Usable(process.Own)
	if usable == 0 {
		return 1024
	}
	return min(1024, 8+usable/8)
}

// check returns an error if there are too few descriptors for a server.
func (p capacity) check() error {
	if limit := p.descriptors.Limit(); limit > 0 && limit < leastDescriptors {
		return fmt.Errorf("the process may have %d file descriptors, and a server needs %d or more: raise the limit (ulimit -n, LimitNOFILE)", limit, leastDescriptors)
	}
	return nil
}

// webhookBytes bounds the queues of one address in memory.
const webhookBytes = 128 << 20

// shardBytes bounds what waits for one shard.
const shardBytes = 32 << 20

// historyBytes bounds the log data that is kept for clients that page through history.
func historyBytes(c *configs.Config) int64 { return min(64<<20, c.Recovery.TotalBytes) }

// bounds returns how many bytes the queues of a configuration may hold together, with the setting of each. The
// table in docs/operations.md has the same rows.
func bounds(c *configs.Config) (sum int64, keys []any) {
	row := func(key string, n int64) {
		if n > 0 {
			sum += n
			keys = append(keys, slog.Int64(key, n))
		}
	}
	row("websocket.total_queue_bytes", c.WebSocket.TotalQueueBytes)
	row("websocket.total_message_bytes", c.WebSocket.TotalMessageBytes)
	if c.Delta.Enabled {
		row("delta_compression.max_total_base_bytes", c.Delta.TotalBases)
	}
	if c.Recovery.Enabled {
		row("connection_recovery.max_total_bytes", c.Recovery.TotalBytes)
	}
	if c.History.Enabled && c.History.Rewind || slices.ContainsFunc(c.Apps, func(a configs.App) bool { return len(a.Snapshots) > 0 }) {
		row("snapshots", c.Recovery.TotalBytes) // as much again
	}
	if c.History.Enabled {
		row("history", historyBytes(c))
	}
	row("publishing.max_bytes", c.HTTP.MaxPublishingBytes)
	row("http.max_bodies", 2*c.HTTP.MaxBodies) // of requests and of answers
	row("shards", int64(runtime.GOMAXPROCS(0))*shardBytes)
	addresses := 0
	for i := range c.Apps {
		addresses += len(c.Apps[i].Webhooks)
	}
	row("webhooks", int64(addresses)*webhookBytes)
	return sum, keys
}

// tell logs the limits at the start, and warns if the bounds exceed them.
func (p capacity) tell(c *configs.Config, log *slog.Logger) {
	sum, keys := bounds(c)
	log.Info("limits of this process", "descriptors", p.descriptors.Limit(), "descriptors_for_connections", p.descriptors.Usable(process.Public),
		"memory", p.memory.Limit, "memory_from", p.memory.Source, "collector", p.memory.Collector, "queues", sum)
	if room := p.memory.Room(); room > 0 && p.memory.Limit > room {
		log.Warn("the memory that the process may use is more than there is, so the system would end it before it refuses anybody; lower it", "memory", p.memory.Limit, "memory_from", p.memory.Source, "there_is", room)
	}
	if p.memory.Collector > 0 && sum > p.memory.Collector {
		log.Warn("the queues of this configuration may hold more than the memory of the process; lower some of these, or raise memory.limit", keys...)
	}
}
