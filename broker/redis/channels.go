package redis

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// scanCount is the COUNT hint of one SCAN, during which the server does nothing else.
const scanCount = 1000

// Channels implements [broker.Listing]. It scans all keys of each server.
func (l *Log) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	if _, err := l.forReading(ctx, app); err != nil {
		return nil, err
	}
	all, err := l.listings.Do(ctx, app, func(ctx context.Context) ([]string, error) { return l.list(ctx, app) })
	return broker.Beginning(all, prefix), err
}

func (l *Log) list(ctx context.Context, app string) ([]string, error) {
	// Answers of other servers are kept while one server is retried: scanning them again and again would
	// burden the servers that took over the work of the missing one.
	answers := map[string][]string{}
	var out []string
	err := l.patiently(ctx, func() (err error) {
		out, err = l.channels(ctx, app, answers)
		return err
	})
	if err != nil {
		return nil, unavailable("looking for channels", err)
	}
	return out, nil
}

// channels asks the present servers, except those whose answers are known.
func (l *Log) channels(ctx context.Context, app string, answers map[string][]string) ([]string, error) {
	done, err := l.readers.Take(ctx, app)
	if err != nil {
		return nil, err
	}
	defer done()
	before, after := l.keys.around(app)
	pattern := glob(before) + "*" + glob(after)
	masters, err := l.masters()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for address, node := range masters {
		names, known := answers[address]
		for cursor := uint64(0); !known; {
			entry, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Type("stream").Build()).AsScanEntry()
			if err != nil {
				return nil, err
			}
			for _, key := range entry.Elements {
				if l.keys.foreign(app, key) {
					continue
				}
				if channel, err := name.Decode(strings.TrimSuffix(strings.TrimPrefix(key, before), after)); err == nil {
					names = append(names, channel)
				}
			}
			cursor = entry.Cursor
			known = cursor == 0
		}
		answers[address] = names
		for _, channel := range names {
			found[channel] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// around returns the text before and after the channel in the names of an app's streams.
func (k keys) around(app string) (before, after string) {
	return k.prefix + "{" + name.Key(app) + ":", "}:s"
}

// glob escapes a text for a pattern that matches it literally.
func glob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "^", `\^`).Replace(text)
}

var _ broker.Listing = (*Log)(nil)
