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
	// unnamedMost is the largest number of subjects of a stream for which they are examined, because the server lists all
	// of them.
	unnamedMost = 10_000
	// unnamedPause is the least time between two examinations.
	unnamedPause = 5 * time.Second
)

// unnamed counts events under subjects of an app's stream that are no channels. A publisher that uses NATS directly gets an
// acknowledgement for any subject of the app, but events under such subjects are never delivered. The fields belong to the
// goroutine that supervises the app.
type unnamed struct {
	looked time.Time
	// subjects and last are the state of the stream at the last examination.
	subjects, last uint64
	// events has the counted events by subject.
	events map[string]uint64
}

// due reports whether to examine the subjects.
func (u *unnamed) due(info *jetstream.StreamInfo, now time.Time) bool {
	s := &info.State
	changed := s.NumSubjects != u.subjects || len(u.events) > 0 && s.LastSeq != u.last
	return changed && s.NumSubjects <= unnamedMost && now.Sub(u.looked) >= unnamedPause
}

// countUnnamed counts new events under subjects that are no channels.
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

// notAChannel returns why the token after the app in a subject is not a channel, nil if it is one.
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
