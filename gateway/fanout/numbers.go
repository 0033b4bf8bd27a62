package fanout

import "github.com/sluicehq/sluice/gateway/socket"

// Number is a metric that the shards of a hall count or measure themselves.
type Number struct {
	Name, Help string
	// Counter says that it only rises.
	Counter bool
	// Reason is a label that distinguishes numbers of one name, empty for most.
	Reason string
	Read   func() float64
}

// Numbers returns the metrics of all shards together.
func (h *Hall) Numbers() []Number {
	var out []Number
	sum := func(name, help string, counter bool, of func(s *Shard) uint64) {
		out = append(out, Number{name, help, counter, "", func() float64 {
			all := 0.0
			for _, s := range h.Shards {
				all += float64(of(s))
			}
			return all
		}})
	}
	sum("frames_sent_total", "Frames handed to the kernel.", true, func(s *Shard) uint64 { return s.Writer.Stats().Frames })
	sum("socket_writes_total", "Writes to sockets; frames_sent_total by this is how many frames go out together.", true, func(s *Shard) uint64 { return s.Writer.Stats().Writes })
	sum("sockets_blocked_total", "Times that the kernel took no more of a socket's frames.", true, func(s *Shard) uint64 { return s.Writer.Stats().Blocked })
	sum("publications_conflated_total", "Publications that slow sockets skipped in favour of newer ones of the same conflation value, per recipient.", true, func(s *Shard) uint64 { return s.Conflated.Load() })
	sum("socket_queue_frames", "Frames that wait for sockets.", false, func(s *Shard) uint64 { n, _ := s.Writer.Queued(); return uint64(n) })
	sum("socket_queue_bytes", "Bytes that wait for sockets.", false, func(s *Shard) uint64 { _, n := s.Writer.Queued(); return uint64(n) })
	sum("messages_delivered_total", "Publications queued to sockets, per recipient.", true, func(s *Shard) uint64 { return s.Delivered.Load() })
	sum("ephemeral_missed_total", "Ephemeral events that were dropped for sockets which were behind, per recipient.", true, func(s *Shard) uint64 { return s.Unheard.Load() })
	sum("shard_queue_ways", "Subscriptions that may go on through the past and wait for their turn.", false, func(s *Shard) uint64 { return uint64(s.Woken()) })
	sum("shard_queue_publications", "Publications that wait for the shards.", false, func(s *Shard) uint64 { return uint64(s.Waiting()) })
	for why := range socket.Reasons {
		const help = "Sockets that were closed because they did not read: their own queue was full, they took nothing for too long, or all that are behind held too much together."
		out = append(out, Number{"slow_sockets_closed_total", help, true, why.String(), func() float64 { return float64(h.Sockets.Closed(why)) }})
	}
	gauge := func(name, help string, read func() int64) {
		out = append(out, Number{name, help, false, "", func() float64 { return float64(read()) }})
	}
	gauge("delta_bases", "Publications per channel and conflation value that deltas can start from.", h.BaseKeys.Load)
	gauge("delta_bases_bytes", "Estimate of the memory of what deltas can start from.", h.BaseBytes.Load)
	gauge("subscriptions_behind", "Subscriptions that are sent the past of their channels, or wait for a resume.", h.Catching.Load)
	gauge("socket_queue_held_bytes", "Bytes that the sockets which are behind hold together; what several wait for counts once.", h.Sockets.Budget().Bytes)
	gauge("priming_queue_bytes", "Publications that wait until their channels are primed, in bytes.", h.Early.Bytes)
	out = append(out, Number{"priming_cut_short_total", "Channels that were primed no further because too much was waiting for that.", true, "", func() float64 { return float64(h.Early.Full()) }})
	return out
}
