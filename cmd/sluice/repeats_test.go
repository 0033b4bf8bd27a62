package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// texts returns the data of the events of a channel, oldest first.
func (r *rig) texts(channel string) (out []string) {
	r.t.Helper()
	for _, i := range r.history(channel) {
		out = append(out, i.Data())
	}
	return out
}

// TestTime03WhatWasRemovedAMomentAgoIsStoredAgain: the log remembers the key of an event for two minutes,
// even after a purge. Events that are imported or replayed again after that are there all the same, once and
// in order, together with new ones.
func TestTime03WhatWasRemovedAMomentAgoIsStoredAgain(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		want := func(when, channel string, from, to int) {
			t.Helper()
			var all []string
			for n := from; n <= to; n++ {
				all = append(all, fmt.Sprintf("text %d;", n))
			}
			if diff := cmp.Diff(all, r.texts(channel)); diff != "" {
				t.Errorf("%s (-want +there):\n%s", when, diff)
			}
		}
		r.imports(linesOf("c", 11, 14))
		for _, remove := range []string{"purge", "reset", "purge"} {
			// There are more each time: earlier events are among new ones.
			r.succeed("", remove, "c", "--yes")
			if said := r.imports(linesOf("c", 11, 29)); strings.Contains(said, "were there") {
				t.Errorf("after a %s: %s", remove, said)
			}
			want("after a "+remove, "c", 11, 29)
			r.succeed("", "replay", "c", "--speed", "max", "--to-channel", "copy")
			want("the replay after a "+remove, "copy", 11, 29)
			r.succeed("", remove, "copy", "--yes")
			r.succeed("", "replay", "c", "--speed", "max", "--to-channel", "copy")
			want("the replay that is repeated after a "+remove, "copy", 11, 29)
			r.succeed("", remove, "copy", "--yes")
		}
		if said := r.imports(linesOf("c", 11, 31)); said != "21 lines imported, 19 of them were there already\n" {
			t.Errorf("said %q", said)
		}
		want("after the repetition", "c", 11, 31)
		// Only the beginning is removed.
		r.succeed("", "purge", "c", "--yes", "--before", fmt.Sprint(r.history("c")[9].Serial))
		r.imports(linesOf("c", 11, 31), "--again")
		all := r.texts("c")
		if len(all) != 21 || all[0] != "text 20;" || all[12] != "text 11;" || all[20] != "text 19;" {
			t.Errorf("after a part was removed the channel has %v", all)
		}
	})
}
