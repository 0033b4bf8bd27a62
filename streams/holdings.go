package streams

import (
	"cmp"
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker"
)

// Holding describes a stream of the log, or of its buckets and queues, at one moment.
type Holding struct {
	// Name of the stream, and what it is for.
	Name, Purpose string
	// Messages and Bytes in the stream, and the number of its subjects with messages.
	Messages, Bytes, Subjects uint64
	// Copies is the number of servers with a copy. Leader is the leading server, empty without a cluster. Late are the
	// servers whose copies are behind.
	Copies int
	Leader string
	Late   []string
	// Err is why the stream could not be asked for; then the other fields are unknown.
	Err error
}

// maxHoldings bounds the number of streams, because each costs a request.
const maxHoldings = 128

// Holdings returns the streams of all apps, of the gateways, and of the buckets and queues, in order. It also returns how many
// were left out because there are too many.
func (l *Log) Holdings(ctx context.Context) (all []Holding, left int) {
	for id, a := range l.apps.All() {
		h := Holding{Name: a.stream, Purpose: "events of the app " + id}
		if id == broker.GatewaysApp {
			h.Purpose = "orders to all gateways"
		}
		all = append(all, h)
	}
	l.mu.Lock()
	for _, o := range l.buckets {
		all = append(all, Holding{Name: "KV_" + o.Name, Purpose: "state of the cluster"})
	}
	for _, w := range l.works {
		all = append(all, Holding{Name: w.stream, Purpose: "webhooks that wait"})
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b Holding) int { return cmp.Compare(a.Name, b.Name) })
	left = max(len(all)-maxHoldings, 0)
	all = all[:len(all)-left]
	for i := range all {
		all[i].ask(ctx, l.admin)
	}
	return all, left
}

func (h *Holding) ask(ctx context.Context, js jets) {
	stream, err := js.Stream(ctx, h.Name)
	if err != nil {
		h.Err = err
		return
	}
	info := stream.CachedInfo()
	h.Messages, h.Bytes, h.Subjects, h.Copies = info.State.Msgs, info.State.Bytes, info.State.NumSubjects, copiesOf(info)
	if clusterless(info) {
		return
	}
	h.Leader = info.Cluster.Leader
	for _, peer := range info.Cluster.Replicas {
		if !peer.Current || peer.Offline {
			h.Late = append(h.Late, peer.Name)
		}
	}
}
