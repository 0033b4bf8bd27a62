package streams

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestTrust06BatchesThatAreBegunAndNotEnded: a raw publisher begins as many atomic batches as the server
// allows, and ends none. Batches of gateways are stored nevertheless, and their single events never wait.
func TestTrust06BatchesThatAreBegunAndNotEnded(t *testing.T) {
	s := listening(t)
	said := &lines{}
	opt := options(s)
	opt.Atomic, opt.PublishTimeout, opt.Logger = AtomicAlways, 4*time.Second, slog.New(slog.NewTextHandler(said, nil))
	l := open(t, opt)
	a := l.apps.Of("app-1")
	raw, err := nats.Connect(s.ClientURL(), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	begun := 0
	begin := func() {
		for range 60 {
			begun++
			m := nats.NewMsg(SubjectOf("app-1", "hostile"))
			m.Header.Set(batchID, fmt.Sprint("hostile-", begun))
			m.Header.Set(batchSequence, "1")
			if err := raw.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := raw.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	publishText(t, l, "alone", "alone")
	for i := range 3 {
		publishAll(t, l, ofBatch(fmt.Sprint("batch ", i), 4, 2))
		begin()
	}
	if got := len(streamOf(t, l)); got != 1+3*4 {
		t.Errorf("%d events are stored, want %d", got, 1+3*4)
	}
	if text := said.String(); strings.Count(text, "begins batches and does not end them") != 1 {
		t.Errorf("the log says\n%s", text)
	}
	if a.crowded.Load() == 0 || l.takesTogether(a, 4) {
		t.Error("batches are still tried as a whole")
	}
	a.crowded.Store(time.Now().UnixNano())
	if !l.takesTogether(a, 4) {
		t.Error("batches are not tried as a whole any more")
	}
}
