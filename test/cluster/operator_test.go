package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// mendedWithin is the time within which everything must work after the last setting was put back.
const mendedWithin = 10 * time.Second

// TestWeeks01ARandomOperator: an operator who knows the nats command line but not Sluice works on a cluster
// under load. He edits streams and buckets, purges them, reloads server limits, exchanges passwords and
// certificates, and puts some of it back. Every acknowledged event reaches every subscriber once and in
// order, or the subscriber is told of a gap, or the event is counted as lost. /ready is green or names a
// cause. After the last setting is put back everything works by itself.
func TestWeeks01ARandomOperator(t *testing.T) {
	fault.Seeds(t, 1302, func(t *testing.T, rnd *rand.Rand) {
		changes := 30
		if fault.Long() {
			changes = 200
		}
		hooks := listenHooks(t)
		a := everything("app")
		a.Webhooks = []app.Webhook{{URL: hooks.URL}}
		servers := startGuardedNATS(t)
		c := start(t, 3, settings{apps: []*app.App{a}, coordinate: true, servers: servers.servers, options: servers.optionsOf, webhooks: webhook.Options{Grace: time.Second}})
		channels := []string{"load-0", "load-1", "load-2", "load-3"}
		o := newRandomOperator(t, rnd, servers, c, a, channels)
		listeners := listen(t, c, a, channels)
		l := &ledger{acked: map[string]entry{}, began: o.began}
		probes := &readiness{}
		var all []*visits

		ctx, stop := context.WithCancel(t.Context())
		var watching, loading sync.WaitGroup
		loads, end := context.WithCancel(ctx)
		t.Cleanup(func() { stop(); loading.Wait(); watching.Wait() })
		for gate, n := range c.nodes {
			v := &visits{gate: gate, all: map[string][][]string{}, ends: map[int]int{}}
			all = append(all, v)
			watching.Go(func() { v.visiting(ctx, n, a, channels) })
			watching.Go(func() { probes.probing(ctx, gate, n) })
		}
		for range 3 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 1))
			loading.Go(func() { l.publishing(loads, c, a, channels, own) })
		}
		t.Cleanup(func() {
			if t.Failed() || testing.Verbose() {
				t.Logf("the operator's journal:\n%s", strings.Join(o.journal, "\n"))
			}
		})
		eventually(t, "events are acknowledged", func() bool { return l.count() > 50 })
		for range changes {
			o.act()
		}
		o.mend()
		mended := time.Now()
		works(t, c, a, hooks, rnd)
		took := time.Since(mended)
		end()
		loading.Wait()
		audit(t, c, l, listeners)
		for _, v := range all {
			v.mu.Lock()
			t.Logf("the client of gateway %d was sent away with %v", v.gate, v.ends)
			v.mu.Unlock()
			for _, s := range listeners {
				if s.gate == v.gate {
					v.check(t, s.channel, s)
				}
			}
		}
		probes.check(t, l)
		t.Logf("%d events were acknowledged, %d were refused; everything worked %v after the last mend; %s", l.count(), len(l.failed), took, o.summary())
		if fault.Long() && took > mendedWithin {
			t.Errorf("everything worked %v after the last mend, want %v at most", took, mendedWithin)
		}
	})
}

// audit compares the acknowledged events with what every listener got and was told.
func audit(t *testing.T, c *cluster, l *ledger, listeners []*listener) {
	t.Helper()
	silent := func() (out []string) {
		for _, s := range listeners {
			missing, by := s.missing(l, len(c.nodes))
			for gate, n := range by {
				if n > int(c.nodes[gate].log.Upkeep().Misplaced) {
					out = append(out, fmt.Sprintf("gateway %d, %s: of what gateway %d acknowledged, some of %v were lost in silence; told were %+v", s.gate, s.channel, gate, missing, s.gaps))
				}
			}
		}
		return out
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience / 2); len(silent()) > 0 && time.Now().Before(deadline); {
		<-tick.C
	}
	for _, text := range silent() {
		t.Error(text)
	}
	for _, s := range listeners {
		for _, twice := range s.repeated(l) {
			t.Errorf("gateway %d, %s: %s", s.gate, s.channel, twice)
		}
		s.mu.Lock()
		for _, wrong := range s.wrong {
			t.Errorf("gateway %d, %s: %s", s.gate, s.channel, wrong)
		}
		s.mu.Unlock()
	}
	for gate, n := range c.nodes {
		t.Logf("gateway %d: %+v %+v", gate, n.log.Upkeep(), n.log.Stats())
	}
}

// lasting reports whether a problem in /ready stays, because NATS does not take the setting back.
func lasting(problem string) bool {
	return strings.Contains(problem, "NATS does not take that back, and events may be removed")
}

// readiness records the answers of the gateways' /ready.
type readiness struct {
	mu   sync.Mutex
	said []saying
}

type saying struct {
	gate     int
	at       time.Time
	status   int
	problems []string
}

func (r *readiness) probing(ctx context.Context, gate int, n *node) {
	own := &http.Client{Timeout: patience, Transport: &http.Transport{}}
	defer own.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := saying{gate: gate, at: time.Now()}
		resp, err := own.Get("http://" + n.Addr() + "/ready")
		if err != nil {
			s.problems = []string{"no answer: " + err.Error()}
		} else {
			s.status = resp.StatusCode
			var body struct{ Problems []string }
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				s.status = 0
			}
			s.problems = body.Problems
			_ = resp.Body.Close()
		}
		r.mu.Lock()
		r.said = append(r.said, s)
		r.mu.Unlock()
	}
}

// check reports a not-ready answer that names no cause, and a refused publish during which /ready named no
// problem.
// check reports a not-ready answer that names no cause, and a refused publish during which /ready named no
// problem.
func (r *readiness) check(t *testing.T, l *ledger) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.said {
		named := slices.ContainsFunc(s.problems, func(p string) bool { return strings.TrimSpace(p) != "" })
		if s.status != http.StatusOK && (s.status != http.StatusServiceUnavailable || !named) {
			t.Errorf("gateway %d: readiness was %d with %q", s.gate, s.status, s.problems)
		}
	}
	for _, f := range l.failed {
		if !slices.ContainsFunc(r.said, func(s saying) bool {
			return s.gate == f.gate && s.at.After(f.from) && s.at.Before(f.to.Add(3*time.Second)) && len(s.problems) > 0
		}) {
			t.Errorf("gateway %d refused an event after %v with %v, and readiness was green all the time", f.gate, f.to.Sub(f.from), f.err)
		}
	}
}

// works waits until everything works on every gateway.
func works(t *testing.T, c *cluster, a *app.App, hooks *hookLog, rnd *rand.Rand) {
	t.Helper()
	at := time.Now()
	stage := func(what string) { t.Logf("%v until %s", time.Since(at).Round(time.Millisecond), what) }
	for i, n := range c.nodes {
		var said, before string
		defer func() {
			if t.Failed() {
				t.Logf("gateway %d said at last: %s", i, said)
			}
		}()
		eventually(t, fmt.Sprintf("gateway %d has no problem", i), func() bool {
			said = n.ready(t)
			var body struct {
				Ready    bool
				Problems []string
			}
			err := json.Unmarshal([]byte(said), &body)
			if now := fmt.Sprint(body.Problems); now != before {
				t.Logf("%v: gateway %d says %s", time.Since(at).Round(time.Millisecond), i, now)
				before = now
			}
			return err == nil && body.Ready && !slices.ContainsFunc(body.Problems, func(p string) bool { return !lasting(p) })
		})
	}
	stage("no gateway has a problem")
	name := fmt.Sprint("after-", rnd.Uint32())
	var peers []*peer
	for i, n := range c.nodes {
		p := n.connect(t, a)
		p.signIn(fmt.Sprintf(`{"id":"%s-%d"}`, name, i))
		p.subscribe("presence-"+name, user(fmt.Sprint("u", i)))
		p.subscribe(name, "")
		peers = append(peers, p)
	}
	converge(t, "presence-"+name, []string{"u0", "u1", "u2"}, peers...)
	stage("members agree")
	for i, n := range c.nodes {
		var live []uint64
		for _, to := range c.nodes {
			live = append(live, to.log.Stats().Live)
		}
		eventually(t, fmt.Sprintf("gateway %d publishes", i), func() bool {
			return n.request(t, a, http.MethodPost, "/events", fmt.Sprintf(`{"name":"after","channel":%q,"data":"%d"}`, name, i), nil) == http.StatusOK
		})
		for k, p := range peers {
			p.awaitN("after", name, i+1)
			if c.nodes[k].log.Stats().Live == live[k] {
				t.Errorf("nothing comes live to gateway %d", k)
			}
		}
		var history any
		if status := n.get(t, a, "/channels/load-0/history?limit=5", &history); status != http.StatusOK {
			t.Errorf("gateway %d: the history answered %d: %v", i, status, history)
		}
	}
	stage("events come")
	eventually(t, "the webhook tells of the channel", func() bool { return hooks.count("channel_occupied", "presence-"+name, "") == 1 })
	stage("webhooks come")
	for i := range c.nodes {
		at := (i + 1) % len(c.nodes)
		if status := c.nodes[at].request(t, a, http.MethodPost, fmt.Sprintf("/users/%s-%d/terminate_connections", name, i), "{}", nil); status != http.StatusOK {
			t.Errorf("an order through gateway %d answered %d", at, status)
		}
		peers[i].closed()
	}
	stage("orders come")
	eventually(t, "the webhook tells that the channel is empty", func() bool { return hooks.count("channel_vacated", "presence-"+name, "") == 1 })
}

// insecure trusts any certificate.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// randomOperator makes random changes, and keeps a journal.
type randomOperator struct {
	t        *testing.T
	rnd      *rand.Rand
	servers  *guardedNATS
	js       jetstream.JetStream
	app      string
	channels []string
	// before holds the original configuration of all streams.
	before  map[string]jetstream.StreamConfig
	names   []string
	journal []string
	done    map[string]int
	began   time.Time
}

func newRandomOperator(t *testing.T, rnd *rand.Rand, servers *guardedNATS, c *cluster, a *app.App, channels []string) *randomOperator {
	t.Helper()
	js, err := jetstream.New(servers.operator(), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	o := &randomOperator{
		t: t, rnd: rnd, servers: servers, js: js, app: streams.StreamOf(a.ID), channels: channels,
		before: map[string]jetstream.StreamConfig{}, done: map[string]int{}, began: time.Now(),
	}
	for info := range js.ListStreams(t.Context()).Info() {
		o.before[info.Config.Name] = info.Config
		o.names = append(o.names, info.Config.Name)
	}
	slices.Sort(o.names)
	if len(o.names) < 6 {
		t.Fatalf("the streams are %q", o.names)
	}
	return o
}

func (o *randomOperator) note(kind, format string, args ...any) {
	o.done[kind]++
	o.journal = append(o.journal, fmt.Sprintf("%7.3f %s: ", time.Since(o.began).Seconds(), kind)+fmt.Sprintf(format, args...))
}

func (o *randomOperator) summary() string { return fmt.Sprint(o.done) }

// pause waits for a random time of at most most, as between two commands.
func (o *randomOperator) pause(most time.Duration) {
	select {
	case <-time.After(time.Duration(o.rnd.Int64N(int64(most)))):
	case <-o.t.Context().Done():
	}
}

// stream returns the name of a random stream, every second time that of the app.
func (o *randomOperator) stream() string {
	if o.rnd.IntN(2) == 0 {
		return o.app
	}
	return o.names[o.rnd.IntN(len(o.names))]
}

// act makes one change.
func (o *randomOperator) act() {
	switch n := o.rnd.IntN(20); {
	case n < 13:
		o.edit()
	case n < 16:
		o.purge()
	case n < 18:
		o.reload()
	case n < 19:
		o.exchangePassword()
	default:
		o.exchangeCertificates()
	}
	o.pause(150 * time.Millisecond)
}

// ctx returns a context that bounds one command.
func (o *randomOperator) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(o.t.Context(), 3*time.Second)
}

func (o *randomOperator) edit() {
	ctx, cancel := o.ctx()
	defer cancel()
	name := o.stream()
	s, err := o.js.Stream(ctx, name)
	if err != nil {
		o.note("edit", "%s cannot be seen: %v", name, err)
		return
	}
	to, what := s.CachedInfo().Config, []string(nil)
	for range 1 + o.rnd.IntN(2) {
		e := operatorEdits[o.rnd.IntN(len(operatorEdits))]
		e.change(o, &to)
		what = append(what, e.name)
	}
	_, err = o.js.UpdateStream(ctx, to)
	o.note("edit", "%s: %s (%v)", name, strings.Join(what, ", "), err)
	if o.rnd.IntN(2) == 0 {
		o.pause(300 * time.Millisecond)
		o.note("back", "%s (%v)", name, o.back(name))
	}
}

// back restores a stream's configuration, except for what NATS does not take back.
func (o *randomOperator) back(name string) error {
	ctx, cancel := o.ctx()
	defer cancel()
	s, err := o.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	to, have := o.before[name], s.CachedInfo().Config
	to.AllowMsgTTL, to.AllowMsgSchedules = to.AllowMsgTTL || have.AllowMsgTTL, to.AllowMsgSchedules || have.AllowMsgSchedules
	to.DenyPurge, to.DenyDelete = to.DenyPurge || have.DenyPurge, to.DenyDelete || have.DenyDelete
	to.AllowRollup = to.AllowRollup && !to.DenyPurge
	_, err = o.js.UpdateStream(ctx, to)
	return err
}

func (o *randomOperator) purge() {
	ctx, cancel := o.ctx()
	defer cancel()
	name := o.stream()
	s, err := o.js.Stream(ctx, name)
	if err != nil {
		o.note("purge", "%s cannot be seen: %v", name, err)
		return
	}
	state := s.CachedInfo().State
	var opts []jetstream.StreamPurgeOpt
	what := "all"
	if o.rnd.IntN(2) == 0 {
		subject := ">"
		if name == o.app {
			subject = "ch.app." + o.channels[o.rnd.IntN(len(o.channels))]
		}
		opts, what = append(opts, jetstream.WithPurgeSubject(subject)), "--subject "+subject
	}
	switch o.rnd.IntN(3) {
	case 0:
		keep := o.rnd.Uint64N(5) + 1
		opts, what = append(opts, jetstream.WithPurgeKeep(keep)), fmt.Sprint(what, " --keep ", keep)
	case 1:
		seq := state.FirstSeq + o.rnd.Uint64N(state.LastSeq-min(state.FirstSeq, state.LastSeq)+1)
		opts, what = append(opts, jetstream.WithPurgeSequence(seq)), fmt.Sprint(what, " --seq ", seq)
	}
	o.note("purge", "%s %s (%v)", name, what, s.Purge(ctx, opts...))
}

// reload changes limits of some servers for a moment.
func (o *randomOperator) reload() {
	in, what := o.servers.usual(), ""
	switch o.rnd.IntN(7) {
	case 0:
		in.payload, what = 8<<10, "max_payload 8 KiB"
	case 1:
		in.connections, what = 1+o.rnd.IntN(6), "few connections"
	case 2:
		in.jetStream, what = "{max_file: 1MB}", "JetStream 1 MB for the account"
	case 3:
		in.account, what = "max_subs: 8", "few subscriptions of the account"
	case 4:
		in.denied, what = []string{"ch.>", "$JS.API.STREAM.>", "$KV.cluster.>", "$JS.API.DIRECT.>"}[o.rnd.IntN(4)], "may not publish"
	case 5:
		in.unheard, what = []string{"rt.>", "_INBOX.>", "$JS.EVENT.>"}[o.rnd.IntN(3)], "may not subscribe"
	case 6:
		in.jetStream, what = "{max_streams: 3}", "three streams for the account"
	}
	which := o.rnd.Perm(3)[:1+o.rnd.IntN(3)]
	o.note("reload", "%v: %s %s%s (%v)", which, what, in.denied, in.unheard, o.servers.reload(in, which...))
	o.pause(400 * time.Millisecond)
	o.note("back", "%v: usual limits (%v)", which, o.servers.reload(o.servers.usual(), which...))
}

// exchangePassword changes the password at the servers and in the gateways' file, in any order.
func (o *randomOperator) exchangePassword() {
	in := o.servers.usual()
	in.password = fmt.Sprint("password-", o.rnd.Uint32())
	steps := []func(){
		func() { o.note("password", "the servers have another one (%v)", o.servers.reload(in, 0, 1, 2)) },
		func() { o.servers.write(o.servers.password, in.password); o.note("password", "the file has it") },
	}
	o.inAnyOrder(steps)
}

// exchangeCertificates gives the servers certificates of another authority, and makes the gateways reconnect.
func (o *randomOperator) exchangeCertificates() {
	in := o.servers.usual()
	in.authority, in.certificate, in.key = o.servers.issue()
	bundle := o.servers.in.authority + in.authority
	steps := []func(){
		func() { o.note("certificates", "the servers have others (%v)", o.servers.reload(in, 0, 1, 2)) },
		func() {
			o.servers.write(o.servers.authorities, bundle)
			o.note("certificates", "the file has both authorities")
		},
		func() {
			few := in
			few.connections = 1
			o.note("certificates", "connections are broken (%v)", o.servers.reload(few, 0, 1, 2))
			o.pause(100 * time.Millisecond)
			o.note("certificates", "connections are allowed again (%v)", o.servers.reload(in, 0, 1, 2))
		},
	}
	o.inAnyOrder(steps)
	o.servers.write(o.servers.authorities, in.authority)
	o.note("certificates", "the file has the new authority alone")
}

func (o *randomOperator) inAnyOrder(steps []func()) {
	for _, i := range o.rnd.Perm(len(steps)) {
		steps[i]()
		o.pause(200 * time.Millisecond)
	}
}

// mend puts everything back.
func (o *randomOperator) mend() {
	if err := o.servers.reload(o.servers.usual(), 0, 1, 2); err != nil {
		o.t.Fatal(err)
	}
	for _, name := range o.names {
		eventually(o.t, name+" is put back", func() bool { return o.back(name) == nil })
	}
	o.note("mend", "everything is as it was")
}
