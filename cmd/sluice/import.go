package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
)

// maxRecord is the maximum length of a line of an export, in bytes.
const maxRecord = 64 << 20

type importOptions struct {
	target
	fromLine int
	check    bool
	again    bool
}

func newImportCommand() *cobra.Command {
	o := &importOptions{}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Publish what was exported",
		Long: `Publish the events of an export again, in the order of its lines, into the channels
that they come from. They keep their names, data, tags, conflation values, extras and
message ids, get new places and times, and are marked with the old ones (extras.replay).

What a channel has already, by message id, is not published once more, so an import may
be repeated. Lines from before the first one that a channel still has are left out: they
may have been there, and have been removed or be hidden (channel_history). --again
publishes them. A file is read to its end first, and nothing of it is published if one
line is wrong; - is standard input, which is published as it comes.

If it stops before the end it prints the command that goes on.`,
		Example: `  sluice import orders.ndjson
  sluice import orders.ndjson --check
  sluice export orders | sluice import - --url https://other.example --app other`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&o.fromLine, "from-line", 1, "leave out the lines before this one")
	f.BoolVar(&o.again, "again", false, "publish also lines from before the first one that their channel still has")
	f.BoolVar(&o.check, "check", false, "only read it, and say what is wrong with it")
	return cmd
}

func (o *importOptions) run(cmd *cobra.Command, path string) error {
	if o.fromLine < 1 {
		return usage("--from-line is %d, the first line is 1", o.fromLine)
	}
	ctx, from := cmd.Context(), cmd.InOrStdin()
	size := int64(0)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		count, bytes, last, err := checkRecords(ctx, f, o.fromLine)
		switch {
		case ctx.Err() != nil:
			return errors.New("stopped; nothing was published")
		case err != nil:
			return hinted{err, "Nothing was published." + tornLine(err, last)}
		case o.fromLine > count+1:
			return usage("--from-line is %d, and %s has %d lines", o.fromLine, path, count)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		from, size = f, bytes
		if o.check {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s, all of them events\n", counted(count, "line"))
			return nil
		}
	} else {
		sayTyping(cmd, "each line is an event as export writes it")
	}
	if path == "-" && o.check {
		count, _, last, err := checkRecords(ctx, from, o.fromLine)
		switch {
		case ctx.Err() != nil:
			return errors.New("stopped; nothing was published")
		case err == nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s, all of them events\n", counted(count, "line"))
			return nil
		}
		return hinted{err, "Nothing was published." + tornLine(err, last)}
	}
	api, err := o.signed(cmd)
	if err != nil {
		return err
	}
	i := &importer{copier: newCopier(api, "", ""), stderr: cmd.ErrOrStderr(), bar: newBar(cmd.ErrOrStderr()), size: size, line: o.fromLine - 1, again: o.again}
	i.copier.what = "line"
	i.copier.trouble = i.trouble
	in := newInput(ctx, from)
	defer in.close()
	err = i.run(ctx, in, o.fromLine)
	i.bar.clear()
	if err == nil {
		fmt.Fprintf(i.stderr, "%s imported%s\n", counted(i.lines, "line"), i.remarks())
		return nil
	}
	hint := "Go on with: " + goOn(cmd, []string{path}, map[string]string{"from-line": strconv.Itoa(max(int(i.copier.through()), o.fromLine-1) + 1)})
	if ctx.Err() != nil {
		return hinted{fmt.Errorf("stopped after %s", counted(i.lines, "line")), hint}
	}
	return hinted{o.explain(err), hint}
}

// records calls each with every line of an export. Line numbers begin with 1.
func records(in *input, each func(line int, text []byte, r *record) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 256<<10), maxRecord)
	n := 0
	for lines.Scan() && in.failure() == nil {
		n++
		text := lines.Bytes()
		if len(bytes.TrimSpace(text)) == 0 {
			return fmt.Errorf("line %d is empty", n)
		}
		r, err := parseRecord(text)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(n, text, &r); err != nil {
			return err
		}
		if err := in.ctx.Err(); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d has more than %d bytes", n+1, maxRecord)
	}
	return lines.Err()
}

// tornLine returns a hint for an export that was stopped in the middle of a line. last is the record before that
// line.
func tornLine(err error, last record) string {
	if !errors.Is(err, errCutOff) {
		return ""
	}
	hint := "\n  An export that is killed may end in the middle of a line. Take that line away"
	if last.Channel == "" {
		return hint + "."
	}
	next := strconv.FormatUint(last.Serial+1, 10)
	return hint + ", and go on with:\n  " + program() + " export " + quoted(last.Channel) + " --from " + next + " >> FILE\n" +
		"  or, if it had --prefix, with the same --prefix and --start " + quoted(last.Channel) + " --start-serial " + next
}

// checkRecords reads all lines, and returns their number, their bytes, and the last one. Lines from first on
// must be events that can be published.
func checkRecords(ctx context.Context, from io.Reader, first int) (count int, size int64, last record, err error) {
	in := newInput(ctx, from)
	defer in.close()
	err = records(in, func(line int, text []byte, r *record) error {
		count, size, last = line, size+int64(len(text))+1, *r
		if line < first {
			return nil
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		return nil
	})
	return count, size, last, err
}

// importer publishes the lines of an export.
type importer struct {
	copier *copier
	stderr io.Writer
	bar    *bar
	// size is the total size in bytes, 0 if it is unknown; read is how much was read.
	size, read int64
	// cut is, by channel, why the beginning of its history cannot be read, for channels that were looked at. met
	// are the streams of which a line has come.
	cut map[string]string
	met map[origin]bool
	// again publishes also lines that precede the first one that their channel still has.
	again       bool
	line, lines int
}

func (i *importer) run(ctx context.Context, in *input, from int) error {
	i.cut, i.met = map[string]string{}, map[origin]bool{}
	// The next line may come late, so everything that was read is published first.
	in.idle = func() error { return i.copier.flush(ctx) }
	err := records(in, func(line int, text []byte, r *record) error {
		i.read += int64(len(text)) + 1
		if line < from {
			return nil
		}
		i.bar.update(time.Now(), portion(float64(i.read), float64(i.size)), fmt.Sprintf("%d lines, %s", i.lines, shorten(r.Channel, 60)))
		if err := i.take(ctx, line, r); err != nil {
			return err
		}
		i.lines++
		return nil
	})
	// Lines that were read before a stop are still published.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if late := i.copier.flush(last); err == nil {
		err = late
	}
	return err
}

func (i *importer) take(ctx context.Context, line int, r *record) error {
	c := i.copier
	if err := i.look(ctx, r); err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	id := short(r.Channel + "\x00" + r.MessageID)
	_, there := c.known[id]
	switch {
	case r.Skipped != "":
		c.undeliverable++
	case there:
		c.there++
	case !i.again && c.before(origin{r.Channel, r.StreamID}, r.Serial):
		c.early++
	default:
		p, err := r.publish(r.Channel, r.MessageID)
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		p.IdempotencyKey = "import-" + hexOf(id)
		if err := c.add(ctx, p, uint64(line)); err != nil {
			return err
		}
		c.known[id] = struct{}{} // an export may have been appended to itself
	}
	c.taken = uint64(line)
	return nil
}

// look reads what a channel already has, before its first line is published.
func (i *importer) look(ctx context.Context, r *record) error {
	if _, looked := i.cut[r.Channel]; !looked {
		// Only a request for the first event is told why the beginning is missing.
		cut, err := i.copier.learn(ctx, r.Channel, r.Channel, stretch{from: moment{serial: 1}}, func(item *client.HistoryItem) {
			i.copier.known[short(r.Channel+"\x00"+item.MessageID)] = struct{}{}
		}, i.stderr)
		if err != nil {
			return err
		}
		i.cut[r.Channel] = cut
	}
	from := origin{r.Channel, r.StreamID}
	if i.met[from] {
		return nil
	}
	i.met[from] = true
	_, some := i.copier.first[from]
	i.bar.clear()
	switch cut, name := i.cut[r.Channel], shorten(r.Channel, 200); {
	case cut == "channel_history" && some && !i.again:
		fmt.Fprintf(i.stderr, "channel_history lets only a part of %s be read; lines from before that are left out\n", name)
	case cut == "channel_history":
		fmt.Fprintf(i.stderr, "channel_history lets only a part of %s be read; what is there before that is not known and is stored again\n", name)
	case cut != "" && !some:
		fmt.Fprintf(i.stderr, "the log has nothing of these lines in %s, and something older may have been removed; if they were among that they are stored again\n", name)
	}
	return nil
}

func (i *importer) remarks() string {
	out := i.copier.counts()
	if n := i.copier.early; n > 0 {
		out += fmt.Sprintf(", %d come before the first one that their channel still has and were left out\n"+
			"Whether those were there and have been removed cannot be known; --again publishes them.", n)
	}
	return out
}

func (i *importer) trouble(err error, wait time.Duration) {
	i.bar.clear()
	fmt.Fprintf(i.stderr, "%v; next try in %v\n", err, wait.Round(time.Millisecond))
}
