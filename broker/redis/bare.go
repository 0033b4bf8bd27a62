package redis

import (
	"context"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/name"
)

// OpenBare connects as [Open] does and opens nothing: neither the apps of the options, of which it
// needs none, nor the feed. It is for who looks after what lies in Redis beside the gateways, with
// [Log.OpenTable], [Log.Measure] and [Log.RemoveApp]; nothing else of the log works.
func OpenBare(ctx context.Context, opt Options) (*Log, error) {
	if len(opt.Apps) == 0 {
		opt.Apps = []AppOptions{{ID: "none"}} // It is not opened.
	}
	return begin(ctx, opt, (*Log).connect)
}

// scanPiece is how many keys are looked at at a time.
const scanPiece = 1000

// Measure says how many keys the log of an app has.
func (l *Log) Measure(ctx context.Context, app string) (found int, err error) {
	err = l.scanApp(ctx, app, func(_ rueidis.Client, keys []string) error {
		found += len(keys)
		return nil
	})
	return found, err
}

// RemoveApp removes all keys of the log of an app. No gateway may have the app.
func (l *Log) RemoveApp(ctx context.Context, app string) error {
	return l.scanApp(ctx, app, func(at rueidis.Client, keys []string) error {
		for _, key := range keys {
			if err := at.Do(ctx, at.B().Unlink().Key(key).Build()).Error(); err != nil {
				return unavailable("removing what the app "+app+" had", err)
			}
		}
		return nil
	})
}

// scanApp calls do for the keys of an app, some at a time, on each server that may have some.
func (l *Log) scanApp(ctx context.Context, app string, do func(at rueidis.Client, keys []string) error) error {
	own, channels := l.keys.prefix+"{"+name.Key(app)+"}:", l.keys.prefix+"{"+name.Key(app)+":"
	masters, err := l.masters()
	if err != nil {
		return unavailable("looking for the servers that have keys", err)
	}
	for _, at := range masters {
		for cursor := uint64(0); ; {
			page, err := at.Do(ctx, at.B().Scan().Cursor(cursor).Match(escapeGlob(l.keys.prefix)+"{"+name.Key(app)+"*").Count(scanPiece).Build()).AsScanEntry()
			if err != nil {
				return unavailable("looking for the keys of the app "+app, err)
			}
			var keys []string
			for _, key := range page.Elements {
				if (strings.HasPrefix(key, own) || strings.HasPrefix(key, channels)) && !l.keys.foreign(app, key) {
					keys = append(keys, key)
				}
			}
			if err := do(at, keys); err != nil {
				return err
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}

// escapeGlob writes a text so that a pattern of Redis means it alone.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(s)
}
