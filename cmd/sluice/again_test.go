package main

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

// logsThatKeep are the kinds of logs, each with a server that retains and shows only so many events of a
// channel.
var logsThatKeep = []struct {
	name string
	rig  func(t *testing.T, messages int64, readings *app.Readings) *rig
}{{"memory", newMemoryRigThatKeeps}, {"jetstream", newRigThatKeeps}, {"redis", newRedisRigThatKeeps}}

func shows(messages int, off bool) *app.Readings {
	return app.NewReadings([]app.ReadingPattern{{Match: "c", Reading: app.Reading{Messages: messages, Off: off}}})
}

// moveTo copies a channel into another log, in the state that an import of some time ago leaves: the log
// knows the events only by their content.
func (r *rig) moveTo(to *rig, channel string) {
	r.t.Helper()
	var events []*broker.Event
	for _, i := range r.history(channel) {
		events = append(events, &broker.Event{
			Name: i.EventName, Data: []byte(i.Data()), MessageID: i.MessageID, Extras: []byte(gjson.Get(string(i.Message), "extras").Raw), Origin: broker.OriginHTTP,
		})
	}
	to.store(channel, events...)
}

// held returns what the log itself retains of a channel.
func (r *rig) held(channel string) broker.Retained {
	r.t.Helper()
	got, err := r.log.(broker.History).Retained(r.t.Context(), "app-id", channel)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func linesOf(channel string, from, to int) string {
	var b strings.Builder
	for n := from; n <= to; n++ {
		b.WriteString(lineOf(channel, n))
	}
	return b.String()
}

// TestTime03AnImportThatIsRepeatedStoresNothing: a repeated import stores nothing, long after the first one,
// even if the log retains or shows less than the file has. The import says what it left out for that reason.
func TestTime03AnImportThatIsRepeatedStoresNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range logsThatKeep {
		for _, c := range []struct {
			name     string
			messages int64
			readings *app.Readings
			says     []string
			silent   bool
		}{
			{name: "all is kept and shown", messages: 1000, says: []string{"150 of them were there already\n"}, silent: true},
			{
				name: "the log keeps less", messages: 100,
				says: []string{"150 lines imported, 100 of them were there already, 50 come before the first one that their channel still has and were left out\n", "--again"},
			},
			{
				name: "less is shown", messages: 1000, readings: shows(100, false),
				says: []string{"channel_history lets only a part of c be read; lines from before that are left out\n", "100 of them were there already, 50 come before"},
			},
			{
				name: "less is shown than is kept, which is less than the file", messages: 120, readings: shows(40, false),
				says: []string{"channel_history lets only a part of c be read", "40 of them were there already, 110 come before"},
			},
		} {
			t.Run(kind.name+", "+c.name, func(t *testing.T) {
				text := linesOf("c", 1, 150)
				once := kind.rig(t, 1000, nil)
				if said := once.imports(text); said != "150 lines imported\n" {
					t.Fatalf("said %q", said)
				}
				r := kind.rig(t, c.messages, c.readings)
				once.moveTo(r, "c")
				before := r.held("c")
				for range 2 {
					said := r.imports(text)
					for _, want := range c.says {
						if !strings.Contains(said, want) {
							t.Errorf("said %q, want %q", said, want)
						}
					}
					if c.silent == strings.Contains(said, "left out") {
						t.Errorf("said %q", said)
					}
					if after := r.held("c"); after != before {
						t.Fatalf("the log had %+v, and has %+v", before, after)
					}
				}
				// New lines are appended, and old ones as well with --again.
				if said := r.imports(text + linesOf("c", 151, 153)); !strings.Contains(said, "153 lines imported") || r.newest("c") != "text 153;" {
					t.Errorf("said %q, and the newest event is %q", said, r.newest("c"))
				}
				if c.silent {
					return
				}
				if said := r.imports(linesOf("c", 1, 2), "--again"); strings.Contains(said, "left out") || r.newest("c") != "text 2;" {
					t.Errorf("said %q, and the newest event is %q", said, r.newest("c"))
				}
			})
		}
	}
}

// imports imports text from standard input, and returns the messages.
func (r *rig) imports(text string, args ...string) string {
	r.t.Helper()
	status, out, said := execute(r.t, text, append([]string{"import", "-", "--url", r.url}, args...)...)
	if status != exitOK || out != "" {
		r.t.Fatalf("status %d: %s%s", status, out, said)
	}
	return said
}

func (r *rig) newest(channel string) string {
	r.t.Helper()
	page, err := r.log.(broker.History).Read(r.t.Context(), "app-id", channel, broker.Query{NewestFirst: true, Limit: 1})
	if err != nil || len(page.Publications) != 1 {
		r.t.Fatalf("%+v, %v", page, err)
	}
	return string(page.Publications[0].Data)
}

// TestTime03WhatAnImportCannotKnowIsSaid: the import reports that the log shows none of the lines' channel,
// or only events of other imports.
func TestTime03WhatAnImportCannotKnowIsSaid(t *testing.T) {
	for _, kind := range logsThatKeep {
		for _, c := range []struct {
			name     string
			readings *app.Readings
			there    []string // exports that were imported before, in order
			says     string   // empty for no message
		}{
			{"an empty channel", shows(10, false), nil, ""},
			{"nothing may be read", shows(0, true), nil, "what c has cannot be read ("},
			{"nothing of it can be seen", shows(10, false), []string{linesOf("c", 1, 5), other(30)}, "channel_history lets only a part of c be read; what is there before that is not known and is stored again\n"},
			{"nothing of it is kept", nil, []string{linesOf("c", 1, 5), other(130)}, "the log has nothing of these lines in c, and something older may have been removed"},
		} {
			t.Run(kind.name+", "+c.name, func(t *testing.T) {
				once := kind.rig(t, 1000, nil)
				for _, text := range c.there {
					once.imports(text)
				}
				r := kind.rig(t, 100, c.readings)
				if c.there != nil {
					once.moveTo(r, "c")
				}
				said := r.imports(linesOf("c", 1, 5))
				if c.says == "" && said != "5 lines imported\n" || !strings.Contains(said, c.says) || strings.Count(said, "\n") > 2 {
					t.Errorf("said %q, want %q", said, c.says)
				}
				if got := r.newest("c"); got != "text 5;" {
					t.Errorf("the newest event is %q", got)
				}
			})
		}
	}
}

// other returns lines of the same channel from another log.
func other(n int) string {
	return strings.ReplaceAll(strings.ReplaceAll(linesOf("c", 1, n), `"stream_id":"e"`, `"stream_id":"f"`), `"message_id":"m`, `"message_id":"f`)
}

// TestTime03AReplayThatIsRepeatedSaysWhatItCouldNotKnow: a repeated replay stores nothing that it can see in
// the target, even over several pages, and reports what it could not see.
func TestTime03AReplayThatIsRepeatedSaysWhatItCouldNotKnow(t *testing.T) {
	t.Parallel()
	for _, kind := range logsThatKeep {
		for _, c := range []struct {
			name     string
			messages int64
			readings *app.Readings
			others   int // events that the target gets beside the replay
			says     []string
		}{
			{"all is there", 1000, nil, 10, []string{"replayed into c, 300 of them were there already\n"}},
			{"less is shown", 1000, shows(250, false), 0, []string{
				"channel_history lets only a part of c be read; what is there before that is not known and is stored again\n",
				"250 of them were there already, 50 of them from before the first one that c still has",
			}},
			{"less is kept", 300, nil, 20, []string{"280 of them were there already, 20 of them from before the first one that c still has"}},
		} {
			t.Run(kind.name+", "+c.name, func(t *testing.T) {
				r := kind.rig(t, c.messages, c.readings)
				r.store("source", numbered(300)...)
				replay := func() string {
					t.Helper()
					status, _, said := execute(t, "", "replay", "source", "--speed", "max", "--to-channel", "c", "--url", r.url)
					if status != exitOK {
						t.Fatalf("status %d: %s", status, said)
					}
					return said
				}
				if said := replay(); !strings.Contains(said, "300 events of source replayed into c\n") {
					t.Fatalf("said %q", said)
				}
				r.store("c", numbered(c.others)...)
				said := replay()
				for _, want := range c.says {
					if !strings.Contains(said, want) {
						t.Errorf("said %q, want %q", said, want)
					}
				}
			})
		}
	}
}
