package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	settingsPrefix = "settings."
	// settingsFor is how long a record stays that nobody renews. It is renewed, and the
	// others are read again, after a tenth of that.
	settingsFor = time.Hour
	// agreementPause is the time between two looks at what others have.
	agreementPause = 2 * time.Second
	// maxDisagreements bounds what readiness names.
	maxDisagreements = 32
)

// agreement shows the settings of this gateway to others in the shared table, and finds out
// in what they differ.
type agreement struct {
	table kv.Table
	node  string
	label string
	// version is that of this gateway.
	version string
	own     func() *Settings
	alive   func(node string) bool
	log     *slog.Logger

	// notes are what readiness says.
	notes atomic.Pointer[[]string]

	mu     sync.Mutex
	others map[string]kv.Record
	// stale asks for the table to be read again.
	stale bool

	// The rest belongs to run. shown are our settings as they were written, packed is
	// the part of the record that equal gateways have alike, and decoded are the settings
	// of others, as of a revision.
	shown    *Settings
	packed   []byte
	revision uint64
	written  time.Time
	decoded  map[string]otherSettings
	said     string
}

type otherSettings struct {
	revision uint64
	shownSettings
}

func newAgreement(table kv.Table, node, label string, own func() *Settings, alive func(string) bool, log *slog.Logger) *agreement {
	return &agreement{
		table: table, node: node, label: label, own: own, alive: alive, log: log,
		others: map[string]kv.Record{}, decoded: map[string]otherSettings{}, stale: true,
	}
}

// Notes are the differences, in words.
func (a *agreement) Notes() []string {
	if a == nil || a.notes.Load() == nil {
		return nil
	}
	return *a.notes.Load()
}

// Changed implements [kv.Watcher].
func (a *agreement) Changed(r kv.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if node := settingsNode(r.Key); node != "" && node != a.node && r.Revision > a.others[node].Revision {
		a.others[node] = r
	}
}

// Lost implements [kv.Watcher].
func (a *agreement) Lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = true
}

func settingsKey(node string) string { return settingsPrefix + name.Key(node) }

func settingsNode(key string) string {
	node, err := name.Decode(strings.TrimPrefix(key, settingsPrefix))
	if err != nil {
		return ""
	}
	return node
}

// run shows and compares settings until ctx is done, and then takes ours away.
func (a *agreement) run(ctx context.Context) {
	unwatch, err := a.table.Watch(settingsPrefix+"*", a)
	if err != nil {
		a.log.Warn("settings cannot be compared with those of other gateways", "error", err)
		return
	}
	defer unwatch()
	tick := time.NewTicker(agreementPause)
	defer tick.Stop()
	for {
		looking, cancel := context.WithTimeout(ctx, agreementPause)
		// Of a table that cannot be reached others tell.
		if a.show(looking) == nil && a.read(looking) == nil {
			a.compare()
		}
		cancel()
		select {
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), agreementPause)
			defer cancel()
			_ = a.table.Purge(leaving, settingsKey(a.node), a.revision)
			return
		case <-tick.C:
		}
	}
}

// show writes our settings when they are new, and now and then.
func (a *agreement) show(ctx context.Context) error {
	own := a.own()
	if own == a.shown && time.Since(a.written) < settingsFor/10 {
		return nil
	}
	value, err := shownSettings{strings.TrimSpace(a.label + " " + a.version), *own}.encode()
	if err != nil {
		return err
	}
	revision, err := a.table.Put(ctx, settingsKey(a.node), value, settingsFor)
	if err == nil {
		a.shown, a.revision, a.written = own, revision, time.Now()
		_, a.packed, _ = bytes.Cut(value, []byte("\n"))
		a.Lost()
	}
	return err
}

// read reads the records of all others, if some may have been missed. A table that has lost
// ours gets it again.
func (a *agreement) read(ctx context.Context) error {
	a.mu.Lock()
	stale := a.stale
	a.stale = false
	a.mu.Unlock()
	if !stale {
		return nil
	}
	records, err := a.table.List(ctx, settingsPrefix+"*")
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.stale = true
		return err
	}
	before := a.others
	a.others = map[string]kv.Record{}
	ours := false
	for _, r := range records {
		switch node := settingsNode(r.Key); node {
		case "":
		case a.node:
			ours = true
		default:
			a.others[node] = r
		}
	}
	// The listing may be behind what was heard.
	for node, r := range before {
		if now, in := a.others[node]; in && r.Revision > now.Revision {
			a.others[node] = r
		}
	}
	if !ours {
		a.written, a.stale = time.Time{}, true
	}
	return nil
}

// compare tells in what the gateways that live differ.
func (a *agreement) compare() {
	a.mu.Lock()
	records := maps.Clone(a.others)
	a.mu.Unlock()
	maps.DeleteFunc(a.decoded, func(node string, _ otherSettings) bool { _, in := records[node]; return !in })
	own := shownSettings{a.label, *a.shown}
	var others []shownSettings
	for node, r := range records {
		if !a.alive(node) {
			continue
		}
		if _, packed, _ := bytes.Cut(r.Value, []byte("\n")); bytes.Equal(packed, a.packed) {
			continue
		}
		o := a.decoded[node]
		if o.revision != r.Revision {
			s, err := decodeSettings(r.Value)
			if err != nil {
				continue // of another release
			}
			o = otherSettings{r.Revision, s}
			a.decoded[node] = o
		}
		others = append(others, o.shownSettings)
	}
	a.tell(disagreements(own, others), own)
}

// tell has the differences in readiness, and in the log when they are new.
func (a *agreement) tell(all []disagreement, own shownSettings) {
	notes := make([]string, 0, len(all))
	for i := range all {
		if i == maxDisagreements {
			notes = append(notes, fmt.Sprintf("%d more settings differ", len(all)-i))
			break
		}
		notes = append(notes, all[i].text(own))
	}
	a.notes.Store(&notes)
	text := strings.Join(notes, "\n")
	switch {
	case text == a.said:
	case text == "":
		a.log.Info("the settings of all gateways agree again")
	default:
		for _, n := range notes {
			if !strings.Contains("\n"+a.said+"\n", "\n"+n+"\n") {
				a.log.Warn("settings differ between gateways", "difference", n)
			}
		}
	}
	a.said = text
}

// gateway is another one as its record shows it.
type gateway struct{ label, version string }

// Others are the gateways whose records are known, by their names.
func (a *agreement) Others() map[string]gateway {
	out := map[string]gateway{}
	if a == nil {
		return out
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for node, r := range a.others {
		shown, _, _ := bytes.Cut(r.Value, []byte("\n"))
		label, version, _ := strings.Cut(string(shown), " ")
		out[node] = gateway{label, version}
	}
	return out
}

// openAgreement compares settings with other gateways, if there is a table for that.
func (n *Node) openAgreement(port string) {
	if n.roster == nil || n.opt.Settings == nil {
		return
	}
	host, err := os.Hostname()
	if err != nil {
		host = n.opt.Name
	}
	n.agreement = newAgreement(n.opt.Table, n.opt.Name, net.JoinHostPort(host, port), n.opt.Settings, n.roster.Alive, n.opt.Logger)
	n.agreement.version = n.opt.Version
	n.opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: n.opt.MetricsPrefix + "settings_differing", Help: "Settings in which this gateway and others of the cluster differ.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(len(n.agreement.Notes())) }))
}
