package fanout

import (
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// message is a frame as a client reads it.
type message struct {
	Event    string          `json:"event"`
	Channel  string          `json:"channel"`
	Data     json.RawMessage `json:"data"`
	Sequence *int64          `json:"sequence"`
	Key      *string         `json:"conflation_key"`
}

// deltaData is the data of a delta frame.
type deltaData struct {
	Delta string  `json:"delta"`
	Key   *string `json:"conflation_key"`
	Base  int64   `json:"base_index"`
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}
