package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
)

// TestTrust07LargeMessagesOfOneApp: a publisher of messages of the maximum size does not get the connection
// closed that reads the channels of all apps, in whichever way its messages are read. A page of them has a
// bound in bytes.
func TestTrust07LargeMessagesOfOneApp(t *testing.T) {
	const large, channels, deep = 1000 << 10, 40, 16
	s := listening(t)
	l := open(t, Options{
		ConnectOptions: s.ConnectOptions(), MaxData: large,
		Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}, {ID: "app-2", Secrets: []Secret{"secret"}, MaxMessages: 1000}},
	})
	brokertest.LargePages(t, patientLog{l}, "app-2", 300<<10)
	raw := dialWire(t, s.ClientURL())
	put := func(channel string, i int) {
		t.Helper()
		data := fmt.Sprintf("%d %s", i, strings.Repeat("x", large-8))
		if answer := raw.publish(SubjectOf("app-1", channel), "NATS/1.0\r\n\r\n", data); strings.Contains(answer, "error") {
			t.Fatal(answer)
		}
	}
	for i := range deep {
		put("deep", i)
	}
	for i := range channels {
		name := fmt.Sprint("wide-", i)
		attachSink(t, l, name)
		put(name, i)
	}
	if _, err := l.Publish(t.Context(), "app-2", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("small")}}); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	for i := range 4 {
		reading.Go(func() {
			patient := patientLog{l}
			brokertest.WalkLarge(t, patient, "app-1", "deep", deep, i%2 == 0)
			page, err := patient.Read(t.Context(), "app-2", "c", broker.Query{Limit: 10})
			if err != nil || len(page.Publications) != 1 {
				t.Errorf("another app: %v", err)
			}
		})
	}
	a := l.apps.Of("app-1")
	for range 2 {
		awaitTrue(t, "all channels are compared", func() bool { return l.newComparison(a, false).look(l.followers(a)) == nil })
	}
	reading.Wait()
	if n := l.reader.link.conn().Stats().Reconnects; n > 0 {
		t.Errorf("the connection for reading was lost %d times", n)
	}
}

// patientLog repeats a read that timed out: on a busy machine an answer of some megabytes may take longer.
type patientLog struct{ *Log }

func (l patientLog) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	for end := time.Now().Add(time.Minute); ; {
		page, err := l.Log.Read(ctx, app, channel, q)
		if !errors.Is(err, broker.ErrUnavailable) || time.Now().After(end) {
			return page, err
		}
	}
}
