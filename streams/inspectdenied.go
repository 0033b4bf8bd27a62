package streams

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// Denial is a permission that gateways need and these credentials lack.
type Denial struct {
	// Publish is false for a subscription. Grant is the subject to permit, and For what it is needed for.
	Publish bool
	Grant   string
	For     string
}

// notThere is a name that no stream has, so requests that name it change nothing.
const notThere = "SLUICE_DOCTOR_NOWHERE"

// probe tests a permission. A published message expects a stream that does not exist, so JetStream refuses it before it stores
// anything, or it is not a valid request.
type probe struct {
	publish           bool
	grant, try, needs string
	body              string
	expects           bool // the subject belongs to a stream
}

// probes returns a probe for each permission, in the order of the table of permissions in the documentation.
func probes(l *Log, use Use) (all []probe) {
	prefix, api := l.opt.Prefix, "$JS.API."
	if l.opt.Domain != "" {
		api = "$JS." + l.opt.Domain + ".API."
	}
	store := func(grant, try, needs string) {
		all = append(all, probe{publish: true, grant: grant, try: try, needs: needs, expects: true})
	}
	ask := func(grant, try, body, needs string) {
		all = append(all, probe{publish: true, grant: api + grant, try: api + try, body: body, needs: needs})
	}
	hear := func(grant, try, needs string) { all = append(all, probe{grant: grant, try: try, needs: needs}) }
	for id, a := range l.apps.All() {
		if id == broker.GatewaysApp {
			store(prefix+"gw.>", a.root+notThere, "orders to all gateways")
			hear(prefix+"rtgw.>", a.live+notThere, "orders to all gateways")
			continue
		}
		store(prefix+"ch.>", a.root+notThere, "publishing to the app "+id)
		hear(prefix+"rt.>", a.live+notThere, "live events of the app "+id)
		all = append(all, probe{publish: true, grant: prefix + castRoot + ">", try: castApp(prefix, id) + "0." + notThere, needs: "ephemeral events of the app " + id})
		hear(prefix+castRoot+">", castApp(prefix, id)+"0."+notThere, "ephemeral events of the app "+id)
	}
	kvRoot := "$KV."
	if l.opt.Domain != "" {
		kvRoot = api + kvRoot
	}
	store(kvRoot+">", kvRoot+l.opt.tableBucket().Name+"."+notThere, "who is where")
	hear(prefix+"rtkv.>", prefix+"rtkv."+notThere, "who is where")
	if use.Counters {
		hear(prefix+"rtctr.>", prefix+"rtctr."+notThere, "counts of full messages")
	}
	ask("INFO", "INFO", "", "everything")
	ask("STREAM.INFO.*", "STREAM.INFO."+notThere, "", "everything")
	ask("STREAM.NAMES", "STREAM.NAMES", `{"subject":"`+notThere+`"}`, "saying which stream has subjects already")
	ask("STREAM.CREATE.*", "STREAM.CREATE."+notThere, "no request", "making streams that are missing")
	ask("STREAM.UPDATE.*", "STREAM.UPDATE."+notThere, "no request", "settings of streams")
	ask("STREAM.MSG.GET.*", "STREAM.MSG.GET."+notThere, `{"seq":1}`, "reading from the leader")
	ask("STREAM.PURGE.*", "STREAM.PURGE."+notThere, "no request", "purging histories, and removing what is void")
	ask("DIRECT.GET.>", "DIRECT.GET."+notThere, `{"seq":1}`, "history and repairs")
	if use.Work {
		w := newWork(l)
		store(w.root+">", w.root+notThere, "webhooks")
		ask("CONSUMER.*."+w.stream, "CONSUMER.NAMES."+w.stream, "", "webhooks")
		ask("CONSUMER.*."+w.stream+".>", "CONSUMER.INFO."+w.stream+"."+notThere, "", "webhooks")
		ask("CONSUMER.MSG.NEXT."+w.stream+".*", "CONSUMER.MSG.NEXT."+w.stream+"."+notThere, `{"no_wait":true}`, "webhooks")
		ack := "$JS.ACK." + w.stream + "."
		all = append(all, probe{publish: true, grant: ack + ">", try: ack + notThere, needs: "webhooks"})
	}
	hear("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."+notThere, "noticing a new leader at once")
	hear("$JS.EVENT.ADVISORY.STREAM.UPDATED.>", "$JS.EVENT.ADVISORY.STREAM.UPDATED."+notThere, "noticing edited streams at once")
	hear(inbox(l)+".>", inbox(l)+"."+notThere+".x", "answers")
	return all
}

// inbox returns the prefix of reply subjects.
func inbox(l *Log) string {
	if l.opt.InboxPrefix != "" {
		return l.opt.InboxPrefix
	}
	return strings.TrimSuffix(nats.InboxPrefix, ".")
}

// deniedTo tests all permissions one after the other, so that each error can be attributed.
func deniedTo(ctx context.Context, l *Log, c *nats.Conn, use Use) (out []Denial) {
	for _, p := range probes(l, use) {
		if ctx.Err() != nil || c.IsClosed() {
			return out
		}
		d := Denial{p.publish, p.grant, p.needs}
		if p.denied(c) && !slices.ContainsFunc(out, func(o Denial) bool { return o.Publish == d.Publish && o.Grant == d.Grant }) {
			out = append(out, d)
		}
	}
	return out
}

// flushPatience is the timeout for an answer of the server.
const flushPatience = 5 * time.Second

func (p probe) denied(c *nats.Conn) bool {
	before := c.LastError()
	if p.publish {
		m := nats.NewMsg(p.try)
		m.Data = []byte(p.body)
		if p.expects {
			m.Header.Set(jetstream.ExpectedStreamHeader, notThere)
		}
		if c.PublishMsg(m) != nil {
			return false
		}
	} else {
		sub, err := c.SubscribeSync(p.try)
		if err != nil {
			return false
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	// A refusal arrives before the answer to the ping.
	if c.FlushTimeout(flushPatience) != nil {
		return false
	}
	err := c.LastError()
	return err != nil && err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), p.try)
}
