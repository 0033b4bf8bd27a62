package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

const (
	// unnamedMost is the number of subjects of a stream up to which they are looked
	// through. The server makes a list of them all.
	unnamedMost = 10_000
	// unnamedPause lies between two looks.
	unnamedPause = 5 * time.Second
)

// unnamed are the subjects of an app's stream that are no channels. Whoever publishes
// to NATS directly gets an acknowledgement for any subject below the app's, and nobody is
// ever given what is stored there. Its fields are of the goroutine that watches the stream.
type unnamed struct {
	looked time.Time
	// subjects and last are of the stream when it was looked through.
	subjects, last uint64
	// events by subject that were counted.
	events map[string]uint64
}

// due says whether to look through a stream.
func (u *unnamed) due(info *jetstream.StreamInfo, now time.Time) bool {
	s := &info.State
	changed := s.NumSubjects != u.subjects || len(u.events) > 0 && s.LastSeq != u.last
	return changed && s.NumSubjects <= unnamedMost && now.Sub(u.looked) >= unnamedPause
}

// countUnnamed counts what came to an app's stream under names that are no channels.
func (l *Log) countUnnamed(a *appLog) error {
	now, info := time.Now(), a.info.Load()
	if info == nil || a.opt.ID == broker.GatewaysApp || !a.unnamed.due(info, now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	info, err := l.infoFor(ctx, a, a.root+">")
	if err != nil {
		return err
	}
	u := &a.unnamed
	before := u.events
	u.looked, u.subjects, u.last, u.events = now, info.State.NumSubjects, info.State.LastSeq, map[string]uint64{}
	for subject, n := range info.State.Subjects {
		reason := l.notAChannel(a, strings.TrimPrefix(subject, a.root))
		if reason == nil {
			continue
		}
		u.events[subject] = n
		if more := n - min(before[subject], n); more > 0 {
			l.upkeep.unnamed.Add(more)
			l.skips.Warn(l.opt.Logger, "unnamed "+a.opt.ID, "events were stored under a subject that is no channel; nobody can be given them",
				"app", a.opt.ID, "subject", subject, "events", more, "reason", reason)
		}
	}
	return nil
}

// notAChannel says why what follows the app in a subject is no channel, nil if it is one.
func (l *Log) notAChannel(a *appLog, token string) error {
	if strings.Contains(token, ".") {
		return errors.New("a channel is one token, in which a dot is =2E; sluice subject prints the subject of a channel")
	}
	channel, err := name.Decode(token)
	if err != nil {
		return fmt.Errorf("%w; sluice subject prints the subject of a channel", err)
	}
	if own := name.Subject(channel); own != token {
		return fmt.Errorf("the subject of that channel ends in %s", own)
	}
	if l.opt.CheckChannel != nil {
		return l.opt.CheckChannel(a.opt.ID, channel)
	}
	return nil
}
