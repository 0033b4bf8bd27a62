package streams

import (
	"cmp"
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker"
)

// Holding is a stream of the log, or of what lies beside it, at one moment.
type Holding struct {
	// Name is that of the stream, Purpose what it is for.
	Name, Purpose string
	// Messages and Bytes are what it holds, Subjects how many have something in it.
	Messages, Bytes, Subjects uint64
	// Copies are how many servers have one. Leader is the server that leads them, empty where
	// there is no cluster, and Late are those that are not up to date.
	Copies int
	Leader string
	Late   []string
	// Err is why nothing is known of it.
	Err error
}

// maxHoldings bounds the streams that are asked for: each costs a request.
const maxHoldings = 128

// Holdings asks for the streams of all apps, of the gateways, and of what lies beside the log,
// in order, and says how many were left out because there are too many.
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
