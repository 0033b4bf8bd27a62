package redis

import (
	"context"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/name"
)

// OpenBare connects like [Open] but opens neither apps nor the feed; the options need no apps. It is for
// tools that manage the data in Redis beside the gateways: only [Log.OpenTable], [Log.Measure] and
// [Log.RemoveApp] work.
func OpenBare(ctx context.Context, opt Options) (*Log, error) {
	if len(opt.Apps) == 0 {
		opt.Apps = []AppOptions{{ID: "none"}} // It is not opened.
	}
	return begin(ctx, opt, (*Log).connect)
}

// scanPiece is the COUNT hint of one SCAN.
const scanPiece = 1000

// Measure returns how many keys the log of an app has. A key that SCAN returns twice counts twice.
func (l *Log) Measure(ctx context.Context, app string) (found int, err error) {
	err = l.scanApp(ctx, app, func(_ rueidis.Client, keys []string) error {
		found += len(keys)
		return nil
	})
	return found, err
}

// RemoveApp removes all keys of the log of an app. No running gateway may serve the app.
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

// scanApp calls do with the keys of an app, page by page, on each server with slots.
func (l *Log) scanApp(ctx context.Context, app string, do func(at rueidis.Client, keys []string) error) error {
	own, channels := l.keys.prefix+"{"+name.Key(app)+"}:", l.keys.prefix+"{"+name.Key(app)+":"
	masters, err := l.masters()
	if err != nil {
		return unavailable("looking for the servers that have keys", err)
	}
	for _, at := range masters {
		for cursor := uint64(0); ; {
			page, err := at.Do(ctx, at.B().Scan().Cursor(cursor).Match(glob(l.keys.prefix)+"{"+name.Key(app)+"*").Count(scanPiece).Build()).AsScanEntry()
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
