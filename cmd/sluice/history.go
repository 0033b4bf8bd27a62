package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
)

// shortData is how many characters of the data are printed by default.
const shortData = 100

// historyPage is how many events are requested at once; the server may return fewer.
const historyPage = 100

type historyOptions struct {
	target
	limit          int
	oldest, newest bool
	asJSON, full   bool
	following      bool
	since          time.Duration
	from, to       uint64
}

func newHistoryCommand() *cobra.Command {
	o := &historyOptions{}
	cmd := &cobra.Command{
		Use:   "history CHANNEL",
		Short: "Print what the log retains of a channel",
		Long: `Print what the log retains of a channel, the newest events first unless --oldest
is given. Pages are fetched as needed.

With --follow, the newest events are printed oldest first (all from --since, --from or
--oldest on), and then what comes, until Ctrl-C: nothing twice, nothing left out, and
what is removed before it could be read is said to be missing.`,
		Example: `  sluice history lobby
  sluice history lobby --oldest --limit 0 --json | jq -r .message.data
  sluice history lobby --since 10m
  sluice history lobby --follow`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.IntVarP(&o.limit, "limit", "n", 20, "how many events to print, 0 for all")
	f.BoolVar(&o.oldest, "oldest", false, "begin with the oldest event")
	f.BoolVar(&o.newest, "newest", false, "begin with the newest event (default)")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per line")
	f.BoolVar(&o.full, "full", false, "do not shorten the data")
	f.BoolVarP(&o.following, "follow", "F", false, "print what comes as well, until Ctrl-C")
	f.DurationVar(&o.since, "since", 0, "only events of this last time, such as 10m")
	f.Uint64Var(&o.from, "from", 0, "only events from this serial on")
	f.Uint64Var(&o.to, "to", 0, "only events up to this serial")
	return cmd
}

func (o *historyOptions) run(cmd *cobra.Command, channel string) error {
	switch {
	case o.limit < 0:
		return usage("--limit is %d, must not be negative", o.limit)
	case o.since < 0:
		return usage("--since is %v, must not be negative", o.since)
	case o.from >= maxSerial || o.to >= maxSerial:
		return usage("--from is %d and --to %d, a serial is 1 to %d", o.from, o.to, uint64(maxSerial)-1)
	case o.to > 0 && o.from > o.to:
		return usage("--from %d is behind --to %d", o.from, o.to)
	case o.oldest && o.newest:
		return usage("--oldest and --newest exclude each other")
	case o.following && (o.newest || o.to > 0):
		return usage("--follow prints the oldest event first and has no end; it excludes --newest and --to")
	}
	api, err := o.signed(cmd)
	if err != nil {
		return err
	}
	if o.following {
		return o.follow(cmd, api, channel)
	}
	q := client.HistoryQuery{OldestFirst: o.oldest, StartSerial: o.from, EndSerial: o.to}
	if o.since > 0 {
		q.Start = time.Now().Add(-o.since)
	}
	out := &listing{out: cmd.OutOrStdout(), asJSON: o.asJSON, full: o.full}
	printed := 0
	for {
		q.Limit = historyPage
		if o.limit > 0 {
			q.Limit = min(historyPage, o.limit-printed)
		}
		var page *client.HistoryPage
		// Many pages may exceed the limit of the app, which is waited for.
		if err := insist(cmd.Context(), false, nil, func() (err error) { page, err = api.History(cmd.Context(), channel, q); return err }); err != nil {
			return o.explain(err)
		}
		for i := range page.Items {
			if err := out.print(&page.Items[i]); err != nil {
				return err
			}
		}
		printed += len(page.Items)
		if !page.HasMore || len(page.Items) == 0 || o.limit > 0 && printed >= o.limit {
			if !o.asJSON {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d retained events\n", printed, page.Continuity.RetainedMessages)
			}
			return nil
		}
		q.Cursor = page.NextCursor
	}
}

// listing prints events of the history.
type listing struct {
	out          io.Writer
	asJSON, full bool
	// text is a buffer that is reused.
	text []byte
	// begun is set once the header of the table was printed.
	begun bool
}

func (l *listing) print(i *client.HistoryItem) error {
	if l.asJSON {
		l.text = append(i.AppendJSON(l.text[:0]), '\n')
		_, err := l.out.Write(l.text)
		return err
	}
	if !l.begun {
		l.begun = true
		fmt.Fprintf(l.out, "%10s  %-29s  %-20s  %7s  %s\n", "SERIAL", "TIME", "EVENT", "BYTES", "DATA")
	}
	data := i.Data()
	switch {
	case i.Skipped != "":
		data = "(not delivered: " + shorten(i.Skipped, 200) + ")"
	case !l.full:
		data = shorten(data, shortData)
	}
	_, err := fmt.Fprintf(l.out, "%10d  %-29s  %-20s  %7d  %s\n", i.Serial, clockOf(i.PublishedAt()), shorten(i.EventName, 200), i.PayloadSize, data)
	return err
}

// clockOf formats a time for tables, with its offset from UTC.
func clockOf(t time.Time) string { return t.Format("2006-01-02 15:04:05.000Z07:00") }

// shorten returns the beginning of text as one line of at most n characters.
func shorten(text string, n int) string {
	var b strings.Builder
	count := 0
	for _, r := range text {
		if count == n-1 {
			b.WriteRune('…')
			break
		}
		if !harmless(r) {
			r = ' ' // a control character
		}
		b.WriteRune(r)
		count++
	}
	return b.String()
}
