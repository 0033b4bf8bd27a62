package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// pipe is a standard input into which the test writes.
type pipe struct {
	*io.PipeReader
	in *io.PipeWriter
	t  *testing.T
}

func newPipe(t *testing.T) *pipe {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return &pipe{r, w, t}
}

// say writes a text, and returns when it has been read.
func (p *pipe) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, text); err != nil {
		p.t.Fatal(err)
	}
}

// lineOf returns a line of an export.
func lineOf(channel string, n int) string {
	return fmt.Sprintf(`{"channel":%q,"stream_id":"e","serial":%d,"published_at_ms":1,"message_id":"m%d","event":"e","data":"text %d;"}`+"\n", channel, n, n, n)
}

// TestTime03ImportPublishesAsItComes: a line is published whether or not another one follows, and an import
// that waits for input can be stopped.
func TestTime03ImportPublishesAsItComes(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		seen := start(t, nil, "subscribe", "c", "--url", r.url)
		seen.errors.await(t, "subscribed to")
		in := newPipe(t)
		c := start(t, in, "import", "-", "--url", r.url)
		for n := 1; n <= 3; n++ {
			in.say(lineOf("c", n))
			seen.out.await(t, fmt.Sprintf("text %d;", n))
		}
		// Two lines and a part of another one.
		in.say(lineOf("c", 4) + lineOf("c", 5) + lineOf("c", 6)[:40])
		seen.out.await(t, "text 5;")
		c.interrupt()
		if status := c.wait(); status != exitFailure || !strings.Contains(c.errors.String(), "stopped after 5 lines") ||
			!strings.Contains(c.errors.String(), "Go on with: sluice import - --from-line 6 --url ") {
			t.Errorf("status %d: %s", status, c.errors)
		}
		if all := r.history("c"); len(all) != 5 {
			t.Errorf("%d events, want 5", len(all))
		}
		seen.interrupt()
		seen.wait()
	})
}

// TestTime03ARefusalWhileTheNextLineIsAwaited: a refusal ends the import at once, and names its line.
func TestTime03ARefusalWhileTheNextLineIsAwaited(t *testing.T) {
	r := newRig(t)
	in := newPipe(t)
	c := start(t, in, "import", "-", "--url", r.url)
	in.say(lineOf("c", 1) + strings.Replace(lineOf("c", 2), `"event":"e"`, `"event":"pusher:x"`, 1))
	if status := c.wait(); status != exitFailure || !strings.Contains(c.errors.String(), "line 2 is refused: ") || !strings.Contains(c.errors.String(), "--from-line 2") {
		t.Errorf("status %d: %s", status, c.errors)
	}
	if all := r.history("c"); len(all) != 1 {
		t.Errorf("%d events, want 1", len(all))
	}
}

// TestTime03WhoeverWaitsForInputCanBeStopped: the first Ctrl-C ends each command that waits for input, and no
// incomplete input is acted on.
func TestTime03WhoeverWaitsForInputCanBeStopped(t *testing.T) {
	r := newRig(t)
	r.succeed("", "publish", "c", "there")
	for _, c := range []struct {
		args        []string
		typed, says string
	}{
		{[]string{"import", "-"}, "", "stopped after 0 lines"},
		{[]string{"import", "-"}, lineOf("c", 1)[:40], "stopped after 0 lines"},
		{[]string{"import", "-", "--check"}, lineOf("c", 1), "stopped; nothing was published"},
		{[]string{"publish", "c"}, "half of", "stopped; 0 events published"},
		{[]string{"publish", "c", "--file", "-"}, "", "stopped; 0 events published"},
		{[]string{"publish", "c", "--lines"}, "half of", "stopped; 0 events published"},
		{[]string{"purge", "c"}, "c", "nothing was removed"},
		{[]string{"reset", "c"}, "", "nothing was removed"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			in := newPipe(t)
			read := &first{Reader: in, begun: make(chan struct{})}
			cmd := start(t, read, append(c.args, "--url", r.url)...)
			<-read.begun
			if c.typed != "" {
				in.say(c.typed)
			}
			cmd.interrupt()
			if status := cmd.wait(); status != exitFailure || !strings.Contains(cmd.errors.String(), c.says) {
				t.Errorf("status %d: %s", status, cmd.errors)
			}
			if all := r.history("c"); len(all) != 1 {
				t.Errorf("%d events, want 1", len(all))
			}
		})
	}
}

// first signals when reading begins.
type first struct {
	io.Reader
	begun chan struct{}
	told  bool
}

func (f *first) Read(p []byte) (int, error) {
	if !f.told {
		f.told = true
		close(f.begun)
	}
	return f.Reader.Read(p)
}

// TestNothingPassesTheCheckThatNoServerTakes: the check refuses what would be refused in the middle of the
// import, with the same message, and nothing else.
func TestNothingPassesTheCheckThatNoServerTakes(t *testing.T) {
	r := newRig(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	extras := `,"extras":{"a":"<&>` + long(16<<10-11) + `"}`
	var many strings.Builder
	for n := range 33 {
		fmt.Fprintf(&many, `,"t%d":"v"`, n)
	}
	changed := func(was, is string) string { return strings.Replace(lineOf("c", 2), was, is, 1) }
	for name, c := range map[string]struct{ line, says string }{
		"an event of the protocol":          {changed(`"event":"e"`, `"event":"pusher:x"`), "event names that start with pusher: are reserved"},
		"an event of the protocol inside":   {changed(`"event":"e"`, `"event":"sockudo_internal:x"`), "are reserved"},
		"a channel that is none":            {changed(`"channel":"c"`, `"channel":"a b"`), "channel name"},
		"a channel of no user":              {changed(`"channel":"c"`, `"channel":"#server-to-user-"`), "names no user"},
		"a message id that is too long":     {changed(`"m2"`, `"`+long(129)+`"`), "message_id has 129 bytes, the limit is 128"},
		"a conflation value":                {changed(`,"event"`, `,"conflation_key":"`+long(257)+`","event"`), "conflation_key has 257 bytes"},
		"too many tags":                     {changed(`,"event"`, `,"tags":{`+many.String()[1:]+`},"event"`), "tags has 33 entries"},
		"a tag without a name":              {changed(`,"event"`, `,"tags":{"":"v"},"event"`), "a key has 1 to"},
		"extras with headers that are none": {changed(`,"event"`, `,"extras":{"headers":{"h":{}}},"event"`), "extras.headers"},
		"extras that are too large":         {changed(`,"event"`, strings.Replace(extras, "<", "<x", 1)+`,"event"`), "extras has 16385 bytes"},
		"extras that just fit":              {strings.Replace(changed(`,"event"`, extras+`,"event"`), `"m2"`, `"m3"`, 1), ""}, // m2 is an id that must not be there
		"a message id that just fits":       {changed(`"m2"`, `"`+long(128)+`"`), ""},
		"a reserved event that is left out": {changed(`"event":"e"`, `"skipped":"its name is reserved","event":"pusher:x"`), ""},
	} {
		file := writeFile(t, "c.ndjson", lineOf("c", 1)+c.line)
		for _, args := range [][]string{{"import", file, "--check"}, {"import", file, "--url", r.url}, {"import", "-", "--check"}} {
			input := ""
			if args[1] == "-" {
				input = lineOf("c", 1) + c.line
			}
			status, _, said := execute(t, input, args...)
			if c.says == "" && status != exitOK || c.says != "" && (status == exitOK || !strings.Contains(said, "line 2: ") || !strings.Contains(said, c.says) || !strings.Contains(said, "Nothing was published")) {
				t.Errorf("%s, %v: status %d: %s", name, args, status, said)
			}
		}
		if c.says == "" {
			continue
		}
		// Without the wrong line the import goes on.
		if status, _, said := execute(t, "", "import", file, "--check", "--from-line", "3"); status != exitOK {
			t.Errorf("%s, behind it: status %d: %s", name, status, said)
		}
		// The server gives the same message.
		if status, _, said := execute(t, c.line, "import", "-", "--url", r.url); status == exitOK || !strings.Contains(said, c.says) {
			t.Errorf("%s, from a server: status %d: %s", name, status, said)
		}
	}
}
