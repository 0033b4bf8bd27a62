package streams

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv/shape"
)

func inspected(t *testing.T, s *server.Server, use Use) *Inspection {
	t.Helper()
	i, err := Inspect(t.Context(), Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxBytes: 1 << 20}},
	}, use)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// state returns all of JetStream's state, which an inspection must not change.
func state(t *testing.T, s *server.Server) string {
	t.Helper()
	c, err := nats.Connect(s.ClientURL(), nats.UserInfo("operator", "p"), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	js, err := jetstream.New(c, jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.StreamInfo
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		info.TimeStamp = time.Time{}
		all = append(all, info)
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	slices.SortFunc(all, func(a, b *jetstream.StreamInfo) int { return cmp.Compare(a.Config.Name, b.Config.Name) })
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// whole holds the permissions that docs/operations.md grants to gateways: publish under true, subscribe under
// false.
var whole = map[bool][]string{
	true: {"ch.>", "ep.>", "gw.>", "work.>", "$KV.>", "$JS.ACK.WORK.>", "$JS.API.INFO", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.PURGE.*", "$JS.API.CONSUMER.*.WORK", "$JS.API.CONSUMER.*.WORK.>", "$JS.API.CONSUMER.MSG.NEXT.WORK.*"},
	false: {"rt.>", "ep.>", "rtgw.>", "rtctr.>", "rtkv.>", "_INBOX.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>", "$JS.EVENT.ADVISORY.STREAM.UPDATED.>"},
}

func grants(publish, subscribe []string) string {
	list := func(all []string) string {
		text := make([]string, len(all))
		for i, s := range all {
			text[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(text, ", ") + "]"
	}
	return `authorization {users: [{user: operator, password: p}, {user: u, password: p, permissions: {publish: ` + list(publish) + `, subscribe: ` + list(subscribe) + `}}]}`
}

// TestRun04EveryPermissionThatIsMissingIsNamed removes one grant after the other: the inspection names it and
// changes nothing, with the streams present and without.
func TestRun04EveryPermissionThatIsMissingIsNamed(t *testing.T) {
	s, opt := guarded(t, grants(whole[true], whole[false]))
	use := Use{Counters: true, Work: true}
	if i := inspected(t, s, use); len(i.Denied) > 0 || i.JetStream != nil || len(i.Streams) != 6 || !i.Streams[0].Missing {
		t.Fatalf("with all that is documented: %+v", i)
	}
	if now := state(t, s); now != "null" {
		t.Fatalf("streams were made: %s", now)
	}
	l := open(t, Options{URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxBytes: 1 << 20}}})
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenCounters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenWork(t.Context(), "n", table); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	before := state(t, s)
	for publish, all := range whole {
		for n, subject := range all {
			publishes, subscribes := whole[true], whole[false]
			rest := slices.Delete(slices.Clone(all), n, n+1)
			if publish {
				publishes = rest
			} else {
				subscribes = rest
			}
			next := opt.Clone()
			next.Users = parsed(t, grants(publishes, subscribes)).Users
			if err := s.ReloadOptions(next); err != nil {
				t.Fatal(err)
			}
			if i := inspected(t, s, use); len(i.Denied) != 1 || !isDenied(i, publish, subject) {
				t.Errorf("without %s: %+v", subject, i.Denied)
			}
		}
	}
	if now := state(t, s); now != before {
		t.Errorf("something has changed:\n%s\n%s", before, now)
	}
}

func isDenied(i *Inspection, publish bool, grant string) bool {
	return slices.ContainsFunc(i.Denied, func(d Denial) bool { return d.Publish == publish && d.Grant == grant && d.For != "" })
}

// TestRun04AnInspectionTellsWhatIsThere: an inspection reports edited settings, limits, room and clocks.
func TestRun04AnInspectionTellsWhatIsThere(t *testing.T) {
	s, _ := guarded(t, `max_payload: 100000
accounts {A {jetstream {max_streams: 9, max_file: 1073741824}, users: [{user: u, password: p}, {user: operator, password: p}]}}`)
	l := open(t, Options{URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxBytes: 1 << 20}}})
	js := l.js
	stream, err := js.Stream(t.Context(), "CH_a")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c, err := nats.Connect(s.ClientURL(), nats.UserInfo("u", "p"), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own, err := jetstream.New(c, jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	edited := stream.CachedInfo().Config
	edited.NoAck, edited.MaxAge, edited.Duplicates = true, time.Hour, time.Minute
	if _, err := own.UpdateStream(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	before := state(t, s)
	i := inspected(t, s, Use{Guest: true})
	if i.Server.MaxPayload != 100000 || i.NeededPayload != 128<<10 || i.Server.Version != server.VERSION || len(i.Servers) != 1 || i.Account.Limits.MaxStreams != 9 {
		t.Errorf("%+v", i)
	}
	if len(i.Clocks) != 1 || i.Clocks[0].Ahead.Abs() > i.Clocks[0].Doubt+time.Second {
		t.Errorf("the clock of this machine: %+v", i.Clocks)
	}
	for _, x := range i.Streams {
		switch x.Name {
		case "CH_a":
			if got := shape.List(x.Report.Changed); !strings.Contains(got, "no_ack is true") || shape.List(x.Report.Limits) != "max_age is 1h0m0s, must be 24h0m0s" || x.Leader == "" {
				t.Errorf("%q, %q, %+v", got, shape.List(x.Report.Limits), x)
			}
		case "KV_cluster":
			if !x.Missing {
				t.Errorf("%+v", x)
			}
		default:
			if x.Missing || len(x.Report.Changed) > 0 {
				t.Errorf("%+v", x)
			}
		}
	}
	if now := state(t, s); now != before {
		t.Errorf("something has changed:\n%s\n%s", before, now)
	}
}

func TestRun04NobodyThereCannotBeInspected(t *testing.T) {
	_, err := Inspect(t.Context(), Options{URLs: []string{"nats://me:hidden@127.0.0.1:1"}, Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}}}, Use{})
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}
