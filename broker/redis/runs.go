package redis

import (
	"context"
	"maps"
	"regexp"
	"sync"

	"github.com/redis/rueidis"
)

var runID = regexp.MustCompile(`\brun_id:(\w+)`)

// checkRuns finds out whether a server restarted, or another one took over from it. Acknowledged events may
// be lost then, also on a server from which this process gets no live messages, so that no connection broke.
func (l *Log) checkRuns() {
	masters, err := l.masters()
	if err != nil {
		return // the next look may know more
	}
	var mu sync.Mutex
	now := map[string]string{}
	each(maps.Keys(masters), comparing, func(addr string) {
		run, err := runOf(l.ctx, masters[addr])
		if err != nil {
			return // a request that needs the server will notice
		}
		mu.Lock()
		defer mu.Unlock()
		now[addr] = run
	})
	changed := false
	for addr, run := range now {
		changed = changed || len(l.runs) > 0 && l.runs[addr] != run
	}
	if l.runs == nil {
		l.runs = map[string]string{}
	}
	maps.Copy(l.runs, now)
	if changed {
		l.doubt.Store(true)
		l.trigger()
	}
}

// runOf returns the run id of a server.
func runOf(ctx context.Context, server rueidis.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := server.Do(ctx, server.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return "", err
	}
	found := runID.FindStringSubmatch(info)
	if found == nil {
		return "", errNotOurs
	}
	return found[1], nil
}
