package streams

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

// restorable is a server whose directory can be restored to an earlier state.
type restorable struct {
	t    *testing.T
	dir  string
	port int
	*server.Server
}

func startRestorable(t *testing.T) *restorable {
	r := &restorable{t: t, dir: filepath.Join(t.TempDir(), "store"), port: fault.Ports(t, 1)[0]}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *restorable) start() {
	r.t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: r.port, JetStream: true, StoreDir: r.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(3 * time.Minute) {
		r.t.Fatal("the NATS server did not start")
	}
	r.Server = s
}

func (r *restorable) stop() {
	r.Shutdown()
	r.WaitForShutdown()
}

// save copies the directory of the stopped server and returns the copy.
func (r *restorable) save() (saved string) {
	r.t.Helper()
	saved = filepath.Join(r.t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(r.dir)); err != nil {
		r.t.Fatal(err)
	}
	return saved
}

func (r *restorable) restore(saved string) {
	r.t.Helper()
	if err := os.RemoveAll(r.dir); err != nil {
		r.t.Fatal(err)
	}
	if err := os.CopyFS(r.dir, os.DirFS(saved)); err != nil {
		r.t.Fatal(err)
	}
}

// raw publishes numbered events as the `nats` command line does.
func (r *restorable) raw(rnd *rand.Rand, channels, n int, next *int) {
	r.t.Helper()
	nc, err := nats.Connect(r.ClientURL(), nats.Timeout(time.Minute))
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream(nats.MaxWait(time.Minute))
	if err != nil {
		r.t.Fatal(err)
	}
	for range n {
		*next++
		if _, err := js.Publish(SubjectOf("app-1", fmt.Sprint("c", rnd.IntN(channels))), []byte(fmt.Sprint(*next))); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestR12RestoredLogIsANewLife restores an older state of the log while gateways serve its channels, and
// publishes before they have reconnected. Offsets are then used twice, and every subscriber that has the lost
// events must be told: those events are gone, and an earlier position may now be that of another event.
// Events that were not lost must not be reported as lost.
func TestR12RestoredLogIsANewLife(t *testing.T) {
	fault.Seeds(t, 12, func(t *testing.T, rnd *rand.Rand) {
		const channels = 4
		s := startRestorable(t)
		opt := Options{URLs: []string{s.ClientURL()}, Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}}
		gateways := []*Log{open(t, opt), open(t, opt)}
		var sinks [2][channels]*sink
		for g, l := range gateways {
			for c := range channels {
				sinks[g][c] = &sink{}
				at, err := l.Attach(t.Context(), "app-1", fmt.Sprint("c", c), sinks[g][c])
				if err != nil {
					t.Fatal(err)
				}
				defer at.Detach()
			}
		}
		n, all := 0, func(g int) (out int) {
			for c := range channels {
				got, _ := sinks[g][c].all()
				out += len(got)
			}
			return out
		}
		s.raw(rnd, channels, rnd.IntN(20), &n)
		saved := n
		s.stop()
		copied := s.save()
		s.start()
		lostEvents := []int{0, 1, 30}[rnd.IntN(3)]
		s.raw(rnd, channels, lostEvents, &n)
		for g := range gateways {
			awaitTrue(t, "both gateways have everything", func() bool { return all(g) == n })
		}
		before := gateways[0].apps.Of("app-1").currentEpoch()
		s.stop()
		s.restore(copied)
		s.start()
		// Fewer events than were lost, or more, so that the log is longer than it was.
		s.raw(rnd, channels, []int{0, 10, 80}[rnd.IntN(3)], &n)
		for _, l := range gateways {
			awaitTrue(t, "the gateway is ready again", func() bool {
				return l.Health().Ready && (lostEvents == 0 || l.apps.Of("app-1").currentEpoch() != before)
			})
		}
		s.raw(rnd, channels, 40, &n)
		t.Logf("%d of %d events were lost", lostEvents, n)
		if a, b := gateways[0].apps.Of("app-1").currentEpoch(), gateways[1].apps.Of("app-1").currentEpoch(); a != b || lostEvents == 0 && a != before {
			t.Errorf("the epoch was %s, is %s on one gateway and %s on the other", before, a, b)
		}
		for g, l := range gateways {
			for c := range channels {
				compareRestored(t, l, fmt.Sprint("c", c), sinks[g][c], before, lostEvents > 0, saved, saved+lostEvents)
			}
		}
	})
}

// TestAnEpochThatEndedDoesNotComeBack restores the same copy twice. The second time this also restores an
// epoch whose positions have been refused since.
func TestAnEpochThatEndedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := startRestorable(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	l := open(t, Options{URLs: []string{s.ClientURL()}, Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}})
	sk := &sink{}
	at, err := l.Attach(t.Context(), "app-1", "c0", sk)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	n := 0
	s.raw(rnd, 1, 5, &n)
	s.stop()
	copied := s.save()
	s.start()
	var epochs []string
	for range 3 {
		s.raw(rnd, 1, 5, &n)
		awaitTrue(t, "the last event has come", func() bool {
			got, _ := sk.all()
			return len(got) > 0 && string(got[len(got)-1].Data) == fmt.Sprint(n)
		})
		epoch := l.apps.Of("app-1").currentEpoch()
		if slices.Contains(epochs, epoch) {
			t.Errorf("the epoch is %s, after %v", epoch, epochs)
		}
		epochs = append(epochs, epoch)
		s.stop()
		s.restore(copied)
		s.start()
		awaitTrue(t, "there is another epoch", func() bool { return l.apps.Of("app-1").currentEpoch() != epoch && l.Health().Ready })
	}
}

// compareRestored compares what a sink got with the present log: the events before the restore once, then a
// gap if any were lost (those from first up to last), and then everything after the gap, in order.
func compareRestored(t *testing.T, l *Log, channel string, sk *sink, before string, gone bool, first, last int) {
	t.Helper()
	page, err := l.Read(t.Context(), "app-1", channel, broker.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	log := page.Publications
	if len(log) > 0 {
		newest := log[len(log)-1].Offset
		awaitTrue(t, channel+" has its newest event", func() bool {
			got, _ := sk.all()
			return len(got) > 0 && got[len(got)-1].Offset >= newest && (!gone || got[len(got)-1].Epoch != before)
		})
	}
	got, gaps := sk.all()
	sk.mu.Lock()
	told := append([]broker.Gap(nil), sk.gaps...)
	sk.mu.Unlock()
	if !gone {
		if gaps > 0 || len(got) != len(log) {
			t.Errorf("%s: nothing was lost, and there were %d gaps and %d of %d events", channel, gaps, len(got), len(log))
		}
		return
	}
	if gaps != 1 || told[0].Reason != broker.GapEpoch {
		t.Fatalf("%s: told %+v", channel, told)
	}
	seen := map[string]bool{}
	var after []*broker.Publication
	for _, p := range got {
		if seen[string(p.Data)] {
			t.Errorf("%s: event %s came twice", channel, p.Data)
		}
		seen[string(p.Data)] = true
		if p.Epoch != before {
			after = append(after, p)
		}
	}
	for len(log) > 0 && log[0].Offset <= told[0].Resume.Offset {
		log = log[1:]
	}
	if len(after) != len(log) {
		t.Fatalf("%s: %d events came after the gap, the log has %d", channel, len(after), len(log))
	}
	for i, p := range after {
		if p.Offset != log[i].Offset || string(p.Data) != string(log[i].Data) {
			t.Errorf("%s: after the gap came %s at %d, the log has %s at %d", channel, p.Data, p.Offset, log[i].Data, log[i].Offset)
		}
	}
	if _, err := l.After(t.Context(), "app-1", channel, broker.Position{Epoch: before, Offset: 1}, 10); !errors.Is(err, broker.ErrEpochChanged) {
		t.Errorf("%s: reading on from a position of before: %v", channel, err)
	}
}
