package redis

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// scanCount is about how many keys are looked at in one step, during which the server does
// nothing else.
const scanCount = 1000

// Channels implements [broker.Listing]. It looks through all keys of each server.
func (l *Log) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	if _, err := l.forReading(ctx, app); err != nil {
		return nil, err
	}
	var out []string
	err := l.patiently(ctx, func() (err error) {
		out, err = l.channels(ctx, app, prefix)
		return err
	})
	if err != nil {
		return nil, unavailable("looking for channels", err)
	}
	return out, nil
}

// channels asks the servers that there are now.
func (l *Log) channels(ctx context.Context, app, prefix string) ([]string, error) {
	done, err := l.readers.Take(ctx, app)
	if err != nil {
		return nil, err
	}
	defer done()
	before, after := l.keys.around(app)
	token := ""
	if prefix != "" {
		token = name.Key(prefix)
	}
	pattern := glob(before+token) + "*" + glob(after)
	found := map[string]bool{}
	for _, node := range l.read.Nodes() {
		for cursor := uint64(0); ; {
			entry, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Type("stream").Build()).AsScanEntry()
			if err != nil {
				return nil, err
			}
			for _, key := range entry.Elements {
				channel, err := name.Decode(strings.TrimSuffix(strings.TrimPrefix(key, before), after))
				if err == nil && strings.HasPrefix(channel, prefix) {
					found[channel] = true
				}
			}
			if cursor = entry.Cursor; cursor == 0 {
				break
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// around is what stands before and behind the channel in the names of streams of an app.
func (k keys) around(app string) (before, after string) {
	return k.prefix + "{" + name.Key(app) + ":", "}:s"
}

// glob writes a text as a pattern that nothing else matches.
func glob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "^", `\^`).Replace(text)
}

var _ broker.Listing = (*Log)(nil)
