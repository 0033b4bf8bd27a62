package hub

import (
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/sight"
)

// newCluster returns what channels need to count together with other gateways, nil if they count alone.
func (h *Hub) newCluster() *count.Cluster {
	if h.opt.Counters == nil {
		return nil
	}
	return count.NewCluster(count.Options{
		Bucket: h.opt.Counters, History: h.opt.History, Done: h.ctx, Go: h.tasks.Go, Now: h.opt.Now, LogTime: h.opt.LogTime,
		Failed: func(app, channel, while string, err error) {
			h.opt.Metrics.countingFailed(app)
			// This fails for all channels at once, and the metric counts the failures, so the log line is
			// rate-limited.
			h.refusals.Warn(h.opt.Logger, "counting", "full messages are not counted with the cluster; this gateway counts by itself",
				"app", app, "channel", channel, "while", while, "error", err)
		},
		Contradicted: h.opt.Metrics.countDiverged,
	})
}

// newLibrary returns what the pasts of all channels share.
func (h *Hub) newLibrary() *past.Library {
	return &past.Library{
		Log: sight.Log{History: h.opt.History, Now: h.opt.LogTime}, Context: h.ctx, Background: h.tasks.Go, Timeout: h.opt.AttachTimeout,
		Most: h.opt.TotalRecentBytes, Apps: func() int { return len(h.opt.Apps.IDs()) }, Read: h.opt.Metrics.recoveryReads.Inc,
		Failed: func(app, channel string, err error) {
			h.failures.Warn(h.opt.Logger, "recovering", "reading the past of a channel failed", "app", app, "channel", channel, "error", err)
		},
		Cramped: func(app, channel string) {
			h.failures.Warn(h.opt.Logger, "snapshots", "a snapshot has not all values, because snapshots have no more room (connection_recovery.max_total_bytes)", "app", app, "channel", channel)
		},
	}
}

// Problems returns sentences that say what does not work as it should.
func (h *Hub) Problems() []string {
	out := h.duties.Problems()
	if h.cluster != nil {
		out = append(out, h.cluster.Problems()...)
	}
	return out
}
