package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
)

// TestTrust04SnapshotsTakeNothingOfOthers: snapshots have a bound of memory, however they are requested.
// Without room a client gets the part that fits, every live event, and, if the protocol has it, a notice that
// the snapshot is incomplete. Other clients resume from memory as before.
func TestTrust04SnapshotsTakeNothingOfOthers(t *testing.T) {
	const room = 1 << 20
	r := snapshotRig(t, memory.Options{}, func(o *Options, a *appT) {
		o.TotalRecentBytes = room
		a.Limits.MaxEventPayload = 20_000
	})
	other, _ := r.second()
	at := other.join("orders", "")
	r.publishMany("orders", 1, 5)
	other.events(5)
	other.hangUp()
	keeper := r.subscribed("orders", false) // so that the channel is followed

	v1, _ := r.connect()
	v2, _ := r.second()
	data := strings.Repeat("x", 10_000)
	for n := range 8 {
		channel, join := fmt.Sprint("ticker", n), ""
		if n%2 == 1 {
			channel, join = fmt.Sprint("asked", n), `,"rewind":{"latest":true}`
		}
		values := 20 + n/4*20
		for value := range values {
			r.publish(channel, "tick", data, keyed(fmt.Sprint(value)))
		}
		v2.join(channel, join)
		got := 0
		for m := v2.next(); ; m = v2.next() {
			if m.Event == "sockudo:snapshot_complete" {
				var said snapshotSaid
				m.inner(t, &said)
				if said.Count != got || said.Complete != (got == values) {
					t.Fatalf("%s: %d came, and it says %+v", channel, got, said)
				}
				if (got == values) != (values == 20) || got < 15 {
					t.Errorf("%s: %d of %d came", channel, got, values)
				}
				break
			}
			got++
		}
		if bytes := r.number("sockudo_snapshot_bytes"); bytes > room {
			t.Fatalf("snapshots hold %v bytes", bytes)
		}
		r.publish(channel, "live", "now", keyed("new"))
		v2.want("live")
	}
	v1.subscribe("ticker0")
	r.publish("ticker0", "live", "now", keyed("new"))
	for m := v1.next(); m.Event != "live" || m.str() != "now"; m = v1.next() {
	}

	reads := r.sum("sockudo_recovery_reads_total")
	other, _ = r.second()
	other.join("orders", "")
	other.from("orders", at.StreamID, at.Serial, "")
	other.events(5)
	if got := r.sum("sockudo_recovery_reads_total"); got != reads {
		t.Errorf("%v pages were read for one who resumes", got-reads)
	}
	keeper.hangUp()
}

// TestTrust04SnapshotsCostNobodyWhatIsLive: more is published than there is room for while a client receives
// a snapshot. The client gets all live events in order.
func TestTrust04SnapshotsCostNobodyWhatIsLive(t *testing.T) {
	for _, protocol := range []string{"1", "2"} {
		for _, events := range []int{100, 500} { // 100 events evict old values, 500 leave no room at all.
			t.Run(fmt.Sprintf("protocol %s, %d events", protocol, events), func(t *testing.T) {
				r := snapshotRig(t, memory.Options{}, func(o *Options, _ *appT) {
					o.QueueFrames, o.QueueBytes, o.SendBuffer, o.SlowAge = 32, 64<<10, 4096, patience
					o.TotalRecentBytes = 8 << 20
				})
				data := strings.Repeat("x", 5_000)
				for n := range 400 {
					r.publish("ticker", "old", data, keyed(fmt.Sprint("old", n)))
				}
				p, _ := r.connect()
				if protocol == "2" {
					p, _ = r.second()
				}
				p.pause()
				p.say(`{"event":"%s:subscribe","data":{"channel":"ticker"}}`, map[string]string{"1": "pusher", "2": "sockudo"}[protocol])
				eventually(t, "the snapshot begins", func() bool { return r.sum("sockudo_replayed_publications_total") > 0 })
				for n := range events {
					r.publish("ticker", fmt.Sprint("live", n), data, keyed(fmt.Sprint("live", n)))
				}
				p.resume()
				old, refused := 0, false
				for n := 0; n < events; {
					switch m := p.next(); {
					case m.Event == fmt.Sprint("live", n):
						n++
					case strings.HasPrefix(m.Event, "live"):
						t.Fatalf("got %s, want live%d", m.Event, n)
					case m.Event == "old":
						old++
					case m.Event == "sockudo:resume_failed":
						refused = strings.Contains(m.text, "no more room")
					}
				}
				if old == 0 || old == 400 {
					t.Errorf("%d of the old values came", old)
				}
				if protocol == "2" && refused != (events == 500) {
					t.Errorf("it was told that there is no room: %v", refused)
				}
			})
		}
	}
}
