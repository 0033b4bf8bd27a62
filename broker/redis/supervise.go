package redis

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

const (
	// checkInterval is how often the epochs are checked.
	checkInterval = time.Second
)

// placeLife is how long the place of a silent channel lives: long enough for the audit to reach it, and for
// positions of events that retention removed.
func placeLife(a *appLog) time.Duration { return 2*a.limits.Load().MaxAge + time.Hour }

// milliseconds formats a duration for Redis.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// trigger requests a comparison of the channels that may have missed messages with the log.
func (l *Log) trigger() { l.wake.Ring() }

// broken is called when a server was away: any channel may have missed messages, and the server may have lost
// a part of the log.
func (l *Log) broken() {
	l.doubt.Store(true)
	l.deaf.Store(true)
	l.unwritten.Store(true)
	l.trigger()
}

// supervise adopts new epochs, and compares channels with the log after any event that may have lost live
// messages or a part of the log.
func (l *Log) supervise() {
	check, audit := time.NewTicker(checkInterval), time.NewTicker(l.opt.AuditInterval)
	defer check.Stop()
	defer audit.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
			if !l.wake.Gather(l.ctx) {
				return
			}
			l.stats.Scans.Add(1)
			l.checkEpochs()
			if l.doubt.Swap(false) {
				l.verify()
			}
			if l.deaf.Swap(false) {
				l.compare(follow.Everyone)
			} else {
				l.compare(follow.Missing)
			}
			if l.unwritten.Swap(false) {
				l.tables.Sound()
			}
		case <-check.C:
			l.checkEpochs()
			l.tryStoring()
			l.askWhy()
			if l.hasProblem(settings) {
				l.inspectAgain()
			}
		case <-audit.C:
			l.inspectAgain()
			l.checkRuns()
			l.compare(oldest)
		}
	}
}

// auditRounds is the number of audits within which every followed channel is compared, however many there
// are, so that no place expires: a hundred audits of ten seconds take far less than [placeKept].
const auditRounds = 100

// oldest selects the followers to compare in one audit.
func oldest(all []*follow.Follower[arrival]) []*follow.Follower[arrival] {
	return follow.OldestOf(all, max(follow.AuditBatch, (len(all)+auditRounds-1)/auditRounds))
}

// lostPart begins a new epoch of an app unless one began since the named epoch.
func (l *Log) lostPart(ctx context.Context, a *appLog, epoch string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if a.currentEpoch() != epoch {
		return nil
	}
	return l.renew(ctx, a, epoch)
}

// settings is the problem of servers that do not match the options.
const settings = "settings of Redis"

func (l *Log) inspectAgain() {
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	l.problem(settings, l.inspect(ctx))
}

// inspectFirst is inspect for the start. It retries, because a replica may be about to become the primary,
// and a server may not answer yet.
func (l *Log) inspectFirst(ctx context.Context) error {
	var before error
	for {
		err := l.inspect(ctx)
		if before != nil && ctx.Err() != nil {
			return before // the last inspection was cut short, so its error means nothing
		}
		if !errors.Is(err, errReplica) && !unanswered(err) {
			return err
		}
		// The connection to a replica is closed, so the next inspection may fail only for that.
		if !errors.Is(before, errReplica) || errors.Is(err, errReplica) {
			before = err
		}
		select {
		case <-ctx.Done():
			return before
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// inspect reads the settings that decide about durability, where the servers tell them. On a cluster it asks
// one server after the other until one answers: an unreachable server is no problem of settings, and the
// library keeps the addresses of removed servers.
func (l *Log) inspect(ctx context.Context) error {
	if !l.opt.Cluster {
		err := l.inspectAt(ctx, l.read)
		l.leaveReplica(ctx, err) // connections that only read would stay with it
		return err
	}
	err := fmt.Errorf("%w: no server of the cluster is known", broker.ErrUnavailable)
	for _, server := range l.read.Nodes() {
		try, cancel := context.WithTimeout(ctx, askTimeout)
		err = l.inspectAt(try, server)
		cancel()
		if err == nil || ctx.Err() != nil || !unanswered(err) {
			return err
		}
	}
	return err
}

// unanswered reports whether an error means that a server could not be asked at the moment.
func unanswered(err error) bool { return errors.Is(err, broker.ErrUnavailable) && passing(err) }

// inspectAt is inspect for one server.
func (l *Log) inspectAt(ctx context.Context, server rueidis.Client) error {
	info, err := server.Do(ctx, server.B().Info().Section("server", "replication").Build()).ToString()
	if err != nil {
		return unavailable("asking the server for its version", err)
	}
	if cluster := strings.Contains(info, "redis_mode:cluster"); cluster != l.opt.Cluster {
		want, have := "redis", "a cluster, use redis-cluster"
		if l.opt.Cluster {
			want, have = "redis-cluster", "no cluster, use redis"
		}
		return fmt.Errorf("adapter.driver is %s, but the server is part of %s", want, have)
	}
	// On a cluster a replica may have answered.
	if !l.opt.Cluster && strings.Contains(info, "role:slave") {
		return l.at("", errReplica)
	}
	got, err := server.Do(ctx, server.B().ConfigGet().Parameter("appendonly", "appendfsync", "maxmemory-policy").Build()).AsStrMap()
	if err != nil {
		got = nil // many hosted Redis services refuse CONFIG
	}
	text, level := "what it keeps when it ends is not known", broker.LevelUnknown
	switch {
	case got["appendonly"] == "yes" && got["appendfsync"] == "always":
		text = "it is written to its append-only file before, so the end of the process or machine loses nothing"
		level = broker.LevelMachine
	case got["appendonly"] == "yes" && got["appendfsync"] == "everysec":
		// An append waits up to two seconds for an fsync that is in progress.
		text = "its append-only file is synchronised each second: its end can lose the last seconds, that of the process when the disk is slow"
		level = broker.LevelSeconds
	case got["appendonly"] == "yes":
		text = "its append-only file is synchronised when the system likes: the end of the machine loses what was not"
		level = broker.LevelProcess
	case got["appendonly"] == "no":
		text = "it has no append-only file: its end loses everything since the last snapshot, perhaps all"
		level = broker.LevelNone
	}
	policy := got["maxmemory-policy"]
	l.mu.Lock()
	l.persistence, l.level = text, level
	changed := l.policy != policy
	l.policy = policy
	l.mu.Unlock()
	if changed && policy != "" && policy != "noeviction" {
		l.opt.Logger.Warn("Redis may remove events when its memory is full; set maxmemory-policy to noeviction", "policy", policy)
	}
	return nil
}

// problem is a known problem of the log.
type problem struct {
	text string
	// app is the affected app, empty for all apps.
	app string
	// cut is true if a connection ended without a known reason.
	cut bool
}

// hasProblem reports whether a problem is recorded.
func (l *Log) hasProblem(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, has := l.problems[what]
	return has
}

// problem records the problem of something that all apps need; a nil err clears it.
func (l *Log) problem(what string, err error) { l.appProblem("", what, err) }

// appProblem records the problem of something that one app needs; a nil err clears it.
func (l *Log) appProblem(app, what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.problems, what)
		return
	}
	if _, known := l.apps.Find(app); app != "" && !known {
		return // it was removed
	}
	text := what + ": " + inWords(err).Error()
	if !l.opt.Cluster && !strings.Contains(text, l.addr) {
		text += " (Redis server " + l.addr + ")"
	}
	l.problems[what] = problem{text, app, hungUp(err)}
}

// Health implements [broker.Log]. A failure that affects only some apps is a problem, but the log is ready as
// long as one app can use it.
func (l *Log) Health() broker.Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := broker.Health{Backend: "redis", Durability: "an acknowledged event is in the memory of one Redis server; " + l.persistence +
		"; a failover to a replica loses what was not replicated yet", Level: l.level}
	h.Ready = l.ctx.Err() == nil
	if !h.Ready {
		h.Problems = append(h.Problems, "the log is closed")
	}
	failing := map[string]bool{}
	for _, p := range l.problems {
		h.Problems = append(h.Problems, p.text)
		switch p.app {
		case "":
			h.Ready = false
		case broker.GatewaysApp:
		default:
			failing[p.app] = true
		}
	}
	h.Ready = h.Ready && (len(failing) == 0 || len(failing) < l.apps.Len()-1)
	sort.Strings(h.Problems)
	return h
}

// Counts implements [broker.Counting].
func (l *Log) Counts() bool { return true }
