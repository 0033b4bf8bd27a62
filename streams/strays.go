package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/name"
)

const (
	// straysPause is the time between two searches for streams that belong to no app.
	straysPause = time.Minute
	// maxStrays is how many of them are reported.
	maxStrays = 16
	// namesTimeout bounds a request for the names of streams. A gateway may lack the permission for it.
	namesTimeout = 2 * time.Second
	// namesAPI is the end of the subject of that request.
	namesAPI = "STREAM.NAMES"
)

// namesOf returns the names of the streams that have a subject, or of all streams if it is empty.
func (l *Log) namesOf(ctx context.Context, subject string) ([]string, error) {
	if l.unlisted.Load() {
		return nil, errors.New("NATS does not permit listing streams")
	}
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	var opts []jetstream.StreamListOpt
	if subject != "" {
		opts = append(opts, jetstream.WithStreamListSubject(subject))
	}
	var names []string
	list := l.admin.StreamNames(ctx, opts...)
	for n := range list.Name() {
		names = append(names, n)
	}
	return names, list.Err()
}

// watchStrays reports the streams of apps that are not configured any more. Their bytes stay reserved until an operator deletes
// them. A gateway must not do that, because another one may have the app.
func (l *Log) watchStrays() {
	if l.opt.AppsFollow {
		select {
		case <-l.ctx.Done():
			return
		case <-l.told:
		}
	}
	tick := time.NewTicker(straysPause)
	defer tick.Stop()
	told := map[string]bool{}
	for {
		if found, err := l.strays(); err == nil {
			l.tellStrays(found, told)
		}
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// strays returns descriptions of the streams that are ours by name and mark and belong to no app, by stream name.
func (l *Log) strays() (map[string]string, error) {
	names, err := l.namesOf(l.ctx, "")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	root := strings.TrimSuffix(streamName(l.opt.Prefix, ""), "=")
	known := func(app string) bool { _, is := l.apps.Find(app); return is }
	found := map[string]string{}
	for _, n := range names {
		app, err := name.Decode(strings.TrimPrefix(n, root))
		if !strings.HasPrefix(n, root) || err != nil || known(app) || len(found) == maxStrays {
			continue
		}
		ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
		s, err := l.admin.Stream(ctx, n)
		cancel()
		if err != nil {
			continue
		}
		publish, _ := rootsOf(l.opt.Prefix, app)
		info := s.CachedInfo()
		if info.Config.Metadata[epochKey] == "" || !slices.Contains(info.Config.Subjects, publish+">") {
			continue
		}
		found[n] = fmt.Sprintf("it is the log of the app %q, which the configuration does not have; it holds %d events in %d bytes, and %s set aside; "+
			"if the app is gone for good: nats stream rm %s", app, info.State.Msgs, info.State.Bytes, aside(info.Config), n)
	}
	return found, nil
}

func aside(c jetstream.StreamConfig) string {
	if c.MaxBytes <= 0 {
		return "no bytes are"
	}
	if c.Replicas <= 1 {
		return fmt.Sprintf("%d bytes are", c.MaxBytes)
	}
	return fmt.Sprintf("%d bytes on each of %d servers are", c.MaxBytes, c.Replicas)
}

// tellStrays reports strays, and logs each of them once.
func (l *Log) tellStrays(found map[string]string, told map[string]bool) {
	for n := range told {
		if found[n] == "" {
			l.appNote("", "stream "+n, nil)
			delete(told, n)
		}
	}
	for n, text := range found {
		l.appNote("", "stream "+n, errors.New(text))
		if !told[n] {
			l.opt.Logger.Warn("a stream belongs to no app", "stream", n, "about", text)
			told[n] = true
		}
	}
}
