package streams

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leaderSettles is how long a newly elected leader may not have applied all its messages. Until then it answers from an older
// state, so a missing message proves nothing.
const leaderSettles = time.Second

// leadership is the leader of a stream, as seen by this process. The zero value is ready.
type leadership struct {
	mu    sync.Mutex
	name  string
	since time.Time
}

// saw records the server that leads the stream. The first one usually has led for a while, so a gateway that starts need not
// wait for it.
func (l *leadership) saw(info *jetstream.StreamInfo, now time.Time) {
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name != "" && l.name != info.Cluster.Leader {
		l.since = now
	}
	l.name = info.Cluster.Leader
}

// elected records that a leader was elected, perhaps the same one again.
func (l *leadership) elected(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = now
}

// led returns [errStale] if a stream has no leader. Then any replica answers with what it has, which may lack acknowledged
// messages.
func led(info *jetstream.StreamInfo) error {
	if c := info.Cluster; c != nil && c.Leader == "" {
		return unavailable("asking for the stream", errStale)
	}
	return nil
}

// settled reports whether a message that the leader does not have is really missing.
func (l *leadership) settled(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.since) >= leaderSettles
}

// elected records that a stream has another leader.
func (l *Log) elected(stream string) {
	for _, a := range l.apps.All() {
		if a.stream == stream {
			a.leader.elected(time.Now())
		}
	}
}
