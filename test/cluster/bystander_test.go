package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
)

// bystanderEnv makes this test binary a process that publishes into a channel at a steady rate and measures
// the latency at its subscribers. In a process of its own, no code that puts load on a gateway runs between
// the socket and the clock.
const bystanderEnv = "BYSTANDER_CHILD"

type bystanderSettings struct {
	App, Channel string
	// Addresses are those of the gateways, which share the subscribers. Events are published at the first.
	Addresses   []string
	Subscribers int
	Every       time.Duration
}

// seen is the time at which an event was due, in nanoseconds, and its delay.
type seen struct {
	At    int64
	Later time.Duration
}

// bystanding is the result of a bystander: the latencies of events, and the delays of its own timers.
type bystanding struct {
	Events, Timers []seen
	Wrong          []string

	mu sync.Mutex
}

func (b *bystanding) note(to *[]seen, due time.Time) {
	took := time.Since(due)
	b.mu.Lock()
	defer b.mu.Unlock()
	*to = append(*to, seen{due.UnixNano(), took})
}

func (b *bystanding) wrong(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.Wrong) < 10 {
		b.Wrong = append(b.Wrong, text)
	}
}

// serveBystander measures until stdin ends, and then prints the result.
func serveBystander(text string) error {
	var set bystanderSettings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return err
	}
	a, found := everything(set.App), &bystanding{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	for i := range set.Subscribers {
		p := newPilgrim(a, set.Channel)
		p.saw = func(_, data string) {
			sent, _ := strconv.ParseInt(data, 10, 64)
			found.note(&found.Events, time.Unix(0, sent))
		}
		v, err := p.visit(ctx, set.Addresses[i%len(set.Addresses)])
		if err != nil {
			return err
		}
		<-v.live
		running.Go(func() { <-v.done })
	}
	running.Go(func() { found.publish(ctx, a, set) })
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	running.Wait()
	return json.NewEncoder(os.Stdout).Encode(found)
}

// publish sends events at fixed times, whether or not earlier ones were answered.
func (b *bystanding) publish(ctx context.Context, a *app.App, set bystanderSettings) {
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 100
	api, err := client.NewSigned(client.SignedOptions{URL: "http://" + set.Addresses[0], AppID: a.ID, Key: a.Key, Secret: "secret"})
	if err != nil {
		b.wrong(err.Error())
		return
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	for due := time.Now(); ; {
		due = due.Add(set.Every)
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		b.note(&b.Timers, due)
		data := strconv.FormatInt(time.Now().UnixNano(), 10)
		sending.Go(func() {
			err := api.Publish(ctx, client.Publish{Name: "tick", Channels: []string{set.Channel}, Data: data})
			if err != nil && ctx.Err() == nil {
				b.wrong(err.Error())
			}
		})
	}
}

// bystander is a bystander process.
type bystander struct {
	cmd *exec.Cmd
	in  io.Closer
	out *json.Decoder
}

func spawnBystander(t *testing.T, set bystanderSettings) *bystander {
	t.Helper()
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	b := &bystander{cmd: clock{}.command(bystanderEnv, string(text))}
	in, err := b.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.Stderr = os.Stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.in = in
	t.Cleanup(func() {
		_ = in.Close()
		_ = b.cmd.Wait()
	})
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatal("a bystander did not start: ", err)
	}
	b.out = json.NewDecoder(out)
	return b
}

// end stops the process and returns its result.
func (b *bystander) end(t *testing.T) *bystanding {
	t.Helper()
	_ = b.in.Close()
	found := &bystanding{}
	if err := b.out.Decode(found); err != nil {
		t.Fatal(err)
	}
	for _, w := range found.Wrong {
		t.Error("a bystander: ", w)
	}
	return found
}

// within returns the delays of what was due from from until to.
func within(all []seen, from, to time.Time) *times {
	s := &times{}
	for _, x := range all {
		if at := time.Unix(0, x.At); !at.Before(from) && at.Before(to) {
			s.all = append(s.all, x.Later)
		}
	}
	return s
}

// slower returns the factor by which the p99 of other events' latency rises during something.
func slower(before, during *times) float64 {
	return float64(during.percent(99)) / float64(max(before.percent(99), time.Microsecond))
}
