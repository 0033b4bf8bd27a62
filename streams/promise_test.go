package streams

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// TestThePromiseSaysWhatHolds: the durability text names what the level alone does not, for example that with
// two replicas both are needed to publish.
func TestThePromiseSaysWhatHolds(t *testing.T) {
	for _, c := range []struct {
		copies      int
		synchronous bool
		level       broker.Level
		says, never string
	}{
		{0, false, broker.LevelProcess, "a lost disk everything", "majority"},
		{1, false, broker.LevelProcess, "a lost disk everything", "majority"},
		{1, true, broker.LevelMachine, "a crashed machine loses nothing", "majority"},
		{2, false, broker.LevelReplicated, "nothing can be published until both", "majority"},
		{3, false, broker.LevelReplicated, "a quorum of 3 servers", "both"},
		{5, false, broker.LevelReplicated, "as long as a majority is left", "both"},
	} {
		text, level := promise(c.copies, c.synchronous)
		if level != c.level || !strings.Contains(text, c.says) || strings.Contains(text, c.never) {
			t.Errorf("%d copies: %s, %q", c.copies, level, text)
		}
	}
}
