package streams

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leaderSettles is how long a leader that was just elected may not have applied all that it has:
// it answers from before that, so what it does not have proves nothing yet.
const leaderSettles = time.Second

// leadership is who leads a stream, as far as this process saw. The zero value knows nobody.
type leadership struct {
	mu    sync.Mutex
	name  string
	since time.Time
}

// saw notes who said that he leads the stream. The first one has led it for a while, as a rule:
// those who are there when a gateway starts are not waited for.
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

// elected notes that a leader was elected, perhaps the same one again.
func (l *leadership) elected(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = now
}

// led fails with [errStale] if nobody leads a stream: then any copy of it answers, with what it has itself,
// which may be less than what was acknowledged.
func led(info *jetstream.StreamInfo) error {
	if c := info.Cluster; c != nil && c.Leader == "" {
		return unavailable("asking for the stream", errStale)
	}
	return nil
}

// settled says whether what the leader does not have is not there.
func (l *leadership) settled(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.since) >= leaderSettles
}

// elected notes that the streams of some apps have another leader.
func (l *Log) elected(stream string) {
	for _, a := range l.apps.All() {
		if a.stream == stream {
			a.leader.elected(time.Now())
		}
	}
}
