package presence

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// TestAnswersOfTheDeadAreForgotten: gateways come and go for years, each with a new name. Answers of dead
// gateways are dropped, and those of living ones stay.
func TestAnswersOfTheDeadAreForgotten(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	a := start(t, table, "a")
	start(t, table, "b")
	eventually(t, "both are known", func() bool { g := a.Roster.view.Load(); return g.alive("a") && g.alive("b") })
	total, err := a.OpenTotal(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	defer total.Close()
	answer := func(node string, question int) {
		total.Changed(kv.Record{Key: totalKey("app") + ".answer." + name.Key(node), Entry: kv.Entry{Value: fmt.Appendf(nil, "7 %d", question)}})
	}
	answer("b", 1)
	for n := range 100 {
		answer(fmt.Sprintf("dead-%d", n), 2+n)
	}
	answer("late", 101)
	total.room.mu.Lock()
	defer total.room.mu.Unlock()
	if n := len(total.answers); n > 4 || total.answers["b"].connections != 7 || total.answers["late"].connections != 7 {
		t.Errorf("%d answers are kept: %v", n, total.answers)
	}
}
