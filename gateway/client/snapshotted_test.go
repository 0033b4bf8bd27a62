package client

import (
	"fmt"
	"testing"
)

// withSnapshot returns a success frame that announces a snapshot which the app's configuration provides.
func withSnapshot(channel, stream string, serial int) string {
	return fmt.Sprintf(`{"event":"sockudo_internal:subscription_succeeded","channel":%q,"data":"{\"attach_serial\":%d,\"snapshot\":true}","stream_id":%q,"serial":%d}`,
		channel, serial, stream, serial)
}

// TestTime04ASnapshotOfTheAppThatWasCutOff: the client did not request the snapshot, and still gets all of it
// after a reconnect: such a subscription is requested again, and not resumed in the middle.
func TestTime04ASnapshotOfTheAppThatWasCutOff(t *testing.T) {
	const (
		complete = `{"event":"sockudo:snapshot_complete","channel":"a","data":{"count":1,"complete":true}}`
		failed   = `{"event":"sockudo:resume_failed","channel":"a","data":{"channel":"a","code":"position_expired","reason":"r","expected_stream_id":"s1","current_stream_id":"s1"}}`
		nothing  = `{"event":"sockudo:resume_success","data":{"recovered":[],"failed":[{"channel":"a"}]}}`
	)
	for _, c := range []struct {
		name  string
		sends []string // from the first connection, after the success frame
		says  string   // the position from which the second connection resumes, empty for a new subscription
		// back is what the second connection sends then, and third the position from which the third one
		// resumes.
		back  []string
		third string
	}{
		{name: "before its first event"},
		{name: "in its middle", sends: []string{event("a", "s1", 3)}},
		{name: "in its middle, with live events", sends: []string{event("a", "s1", 3), event("a", "s1", 11)}},
		{name: "at its end", sends: []string{event("a", "s1", 3), complete}, says: `"serial":9`},
		{name: "after live events", sends: []string{event("a", "s1", 3), event("a", "s1", 11), complete}, says: `"serial":11,"last_message_id":"ma-11"`},
		{
			name: "after a resume that failed", sends: []string{event("a", "s1", 3), complete}, says: `"serial":9`,
			back: []string{withSnapshot("a", "s1", 20), failed, nothing, event("a", "s1", 15)},
		},
		{
			name: "at its end, after a resume that failed", sends: []string{event("a", "s1", 3), complete}, says: `"serial":9`,
			back: []string{withSnapshot("a", "s1", 20), failed, nothing, event("a", "s1", 15), complete}, third: `"serial":20`,
		},
		{
			name: "no snapshot where it is resumed", sends: []string{event("a", "s1", 3), complete}, says: `"serial":9`,
			back: []string{withSnapshot("a", "s1", 20), event("a", "s1", 12), summaryOf("a", "s1", 20, 1), event("a", "s1", 21)}, third: `"serial":21,"last_message_id":"ma-21"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			heard := make(chan string, 100)
			client, p, states := s.second(Options{OnControl: func(ev Event) { heard <- ev.Name }})
			go func() {
				for range client.Events() {
					heard <- "an event"
				}
			}()
			sends := func(p *peer, frames []string) {
				t.Helper()
				p.send(frames...)
				for range frames {
					await(t, heard, "a frame")
				}
			}
			returns := func(from string) *peer {
				t.Helper()
				_ = p.conn.NetConn().Close()
				for st := await(t, states, "the loss"); st.Connected; st = await(t, states, "the loss") {
				}
				next := s.greetedAs("2.2")
				await(t, heard, "the greeting")
				// The result of the previous reconnect may be reported after its connection was lost.
				for st := await(t, states, "the return"); !st.Connected || st.Recovered != nil && len(st.Recovered.Gaps) > 0; st = await(t, states, "the return") {
					if !st.Connected {
						t.Errorf("told %+v", st)
					}
				}
				says := announced
				if from == "" {
					says = ""
				}
				next.expect(fmt.Sprintf(subscribeTo, "a", says))
				if from == "" && client.positions.resumable("a") {
					t.Error("it has a position to go on from")
				}
				if from != "" {
					text := await(t, next.received, "the positions")
					for _, was := range []string{"1.1", "2.2"} {
						if text == resumeOf(`"a":{"stream_id":"s1",`+from+`}`, was) {
							return next
						}
					}
					t.Errorf("resumes from %s, want %s", text, from)
				}
				return next
			}
			done := make(chan error, 1)
			go func() { done <- client.Subscribe(within(t), "a") }()
			await(t, heard, "the greeting")
			p.expect(fmt.Sprintf(subscribeTo, "a", ""))
			sends(p, append([]string{withSnapshot("a", "s1", 9)}, c.sends...))
			if err := await(t, done, "Subscribe"); err != nil {
				t.Fatal(err)
			}
			p = returns(c.says)
			if c.back != nil {
				sends(p, c.back)
				returns(c.third)
			}
		})
	}
}
