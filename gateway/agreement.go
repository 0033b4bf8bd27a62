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
	// settingsFor is the lifetime of a settings record. The record is renewed, and those of other gateways
	// are read again, after a tenth of it.
	settingsFor = time.Hour
	// agreementPause is the time between two comparisons with the settings of other gateways.
	agreementPause = 2 * time.Second
	// maxDisagreements bounds the differences that readiness lists.
	maxDisagreements = 32
)

// agreement publishes the settings of this gateway in the shared table, and compares them with those of other
// gateways.
type agreement struct {
	table kv.Table
	node  string
	label string
	// version is the release of this gateway.
	version string
	own     func() *Settings
	alive   func(node string) bool
	log     *slog.Logger

	// notes are the sentences for readiness.
	notes atomic.Pointer[[]string]

	mu     sync.Mutex
	others map[string]kv.Record
	// stale asks run to read the table again.
	stale bool

	// The remaining fields belong to run. shown is the settings as last written, and packed is the part of
	// the record that is equal for gateways with equal settings. decoded caches the decoded settings of other
	// gateways, with the revision of their record.
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

// Notes returns the differences as sentences for readiness. It is safe for concurrent use, and for a nil
// agreement.
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

// run publishes and compares settings until ctx is done, and then removes the record of this gateway.
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
		// An error here needs no report: others report a table that cannot be reached.
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

// show writes the settings of this gateway when they have changed, and again after a tenth of settingsFor.
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

// read lists the records of all other gateways if updates may have been missed. If the table has lost the
// record of this gateway, show writes it again.
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
	// The watcher may have received a newer record than the listing has.
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

// compare updates the differences to the settings of the gateways that are alive.
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
				continue // written by another release
			}
			o = otherSettings{r.Revision, s}
			a.decoded[node] = o
		}
		others = append(others, o.shownSettings)
	}
	a.tell(disagreements(own, others), own)
}

// tell updates the sentences for readiness, and logs those that are new.
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

// gateway describes another gateway, as its settings record shows it.
type gateway struct{ label, version string }

// Others returns the gateways whose records are known, by their names. It is safe for a nil agreement.
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

// openAgreement prepares the comparison of settings with other gateways. It needs a table and settings.
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
