package count

import (
	"strings"
	"time"
)

const (
	// TTL is how long checkpoints must live.
	TTL = 5 * time.Minute
	// idle is the silence after which all counts of a channel start again. It is half of the lifetime of a
	// checkpoint, so that no gateway continues a count that a joining gateway cannot find any more.
	idle = TTL / 2
	// minDistance is the least number of publications between checkpoints.
	minDistance = 20
	// retryInterval is the time between attempts to count with the cluster, and to write after a failure.
	retryInterval = 5 * time.Second
	// maxWaiting bounds the publications that wait while a count is looked up. Beyond it, the gateway counts
	// alone.
	maxWaiting = 8192
)

// State is how a [Machine] makes its decisions.
type State uint8

const (
	// Idle: by its own count, without the cluster.
	Idle State = iota
	// Looking: everything is sent in full until the cluster's count is known.
	Looking
	// Counting: by the cluster's count.
	Counting
	// Alone: by its own count, because the cluster's is not available. It is looked up again from time to
	// time.
	Alone
)

// Effect is what the owner of a [Machine] must do, in any order, before the next input.
type Effect uint8

const (
	// LookUp: look up the cluster's count, and answer with Found or Unanswered.
	LookUp Effect = 1 << iota
	// LookUpSoon: the same after a moment, because the answering replica was behind.
	LookUpSoon
	// Save: after a moment, call Checkpoint to get what to write, and answer with Written, Blocked, Vanished,
	// WriteFailed or Unsaved.
	Save
	// Contradicted: the checkpoint of another gateway contradicts the count here. Nothing must be done.
	Contradicted
)

// Publication is a publication to be counted.
type Publication struct {
	Offset, Prev uint64
	Time         time.Time
	// Value is the conflation value, empty in single-base mode.
	Value string
	// Plain publications take no part: they have an offset but are not counted.
	Plain bool
}

// Moment is the present time, by the clock of this gateway and by that of the log.
type Moment struct{ Here, Log time.Time }

// Settings of a channel are the same on all gateways.
type Settings struct {
	// Interval and MaxValues are arguments of [NewInterval].
	Interval, MaxValues int
	// Retained is the number of publications that the log keeps, 0 if the log is not bounded by a number.
	Retained int
}

// distance returns the number of publications between checkpoints.
func (s Settings) distance() int {
	d := max(s.Interval, minDistance)
	if s.Retained > 0 {
		d = max(1, min(d, s.Retained/4))
	}
	return d
}

func (s Settings) interval() *Interval { return NewInterval(s.Interval, s.MaxValues, idle) }

// Machine keeps the count of one channel in step with other gateways: it derives the count from the log,
// begins from a checkpoint of the cluster, and has checkpoints written for gateways that join later. Not safe
// for concurrent use.
type Machine struct {
	settings Settings
	distance int
	interval *Interval
	// brought is the offset up to which the feed has brought everything, and arrived when the last
	// publication arrived, by this gateway's clock.
	brought uint64
	arrived time.Time
	together
}

// together is the state of a machine that counts with the cluster.
type together struct {
	state State
	// asked is set while the count is looked up, always in Looking and sometimes in Alone. Publications wait
	// in waiting meanwhile, and pending is the last checkpoint that was heard of.
	asked   bool
	waiting []Publication
	pending *Snapshot
	// alone is when the count was last not available.
	alone time.Time
	// revision and saved are the revision and the offset of the last known checkpoint, and unsaved counts the
	// publications since then. begun is the publication with which a count began that must be saved soon.
	revision, saved uint64
	savedAt         time.Time
	unsaved         int
	begun           uint64
	saving          bool
	// failed is when writing a checkpoint last failed, zero once it succeeded.
	failed time.Time
	marks  marks
}

// NewMachine returns an idle machine that has seen nothing.
func NewMachine(s Settings) *Machine {
	return &Machine{settings: s, distance: s.distance(), interval: s.interval()}
}

// State returns how decisions are made at present.
func (m *Machine) State() State { return m.state }

// Unwritten reports whether the last checkpoint could not be written.
func (m *Machine) Unwritten() bool { return !m.failed.IsZero() }

// Join begins to count with the cluster.
func (m *Machine) Join() Effect { return m.ask(LookUp) }

// Leave ends counting with the cluster.
func (m *Machine) Leave() { m.together = together{} }

// Begin begins a new epoch of the log, of which nothing is counted.
func (m *Machine) Begin() Effect {
	was := m.state
	m.Leave()
	m.interval.Reset(0, time.Time{})
	m.brought = 0
	if was == Idle {
		return 0
	}
	return m.Join()
}

// Arrived notes that the feed has brought a publication.
func (m *Machine) Arrived(offset uint64, now time.Time) { m.brought, m.arrived = offset, now }

// Lost notes that publications up to an offset are missing in the feed.
func (m *Machine) Lost(offset uint64) Effect {
	m.brought = offset
	if m.state == Idle {
		return 0
	}
	return m.ask(LookUp)
}

// Tick requests what is due: that an old checkpoint is replaced, or that the cluster's count is looked up
// again after a failure.
func (m *Machine) Tick(now time.Time) Effect {
	switch {
	case m.state == Idle || m.asked:
	case m.state == Alone:
		if now.Sub(m.alone) >= retryInterval {
			return m.ask(LookUp)
		}
	case m.due(now) || m.Unwritten():
		return m.save(now)
	}
	return 0
}

// Past counts a publication that was read from the log. The machine must be idle.
func (m *Machine) Past(p Publication) (full bool) { return m.count(p, false) }

// Publication counts a publication that the feed has brought, and reports whether it is sent in full.
func (m *Machine) Publication(p Publication, now time.Time) (full bool, e Effect) {
	m.Arrived(p.Offset, now)
	switch {
	case m.state == Idle:
		return m.count(p, true), 0
	case !m.asked:
	case len(m.waiting) < maxWaiting:
		m.wait(p)
		// A machine that counts alone continues until the cluster's count is known.
		return m.state == Looking || m.count(p, true), 0
	default:
		m.Unanswered(now)
	}
	return m.step(p, true, now)
}

// wait makes a publication wait for the count. It copies the value, which may be a part of data that should
// not be kept alive.
func (m *Machine) wait(p Publication) {
	p.Value = strings.Clone(p.Value)
	m.waiting = append(m.waiting, p)
}

func (m *Machine) count(p Publication, live bool) bool {
	if p.Plain {
		m.interval.Pass(p.Offset, p.Prev, p.Time, live)
		return false
	}
	return m.interval.Step(p.Offset, p.Prev, p.Time, live, p.Value)
}

// step counts a publication, and decides whether a checkpoint is needed.
func (m *Machine) step(p Publication, live bool, now time.Time) (full bool, e Effect) {
	last, _ := m.interval.Position()
	if live && p.Offset > last && p.Prev > last && m.state != Alone {
		// The log was read from a replica that was behind: publications that it did not have were not
		// counted.
		e = m.ask(LookUpSoon)
		m.wait(p)
		return true, e
	}
	// A count that begins must be saved soon for gateways that would find no beginning: the log was cut, the
	// checkpoint has expired, or there was none yet.
	cleared := p.Prev < last && live || m.interval.Idle(p.Time)
	begins := cleared || m.saved == 0 || p.Prev < m.saved && m.saved < p.Offset
	full = m.count(p, live)
	if p.Offset <= last {
		return full, 0
	}
	if cleared {
		// What was counted before does not affect decisions any more.
		m.marks.clear()
	}
	m.marks.add(mark{p.Offset, m.interval.Hash()})
	if !live {
		return full, 0
	}
	m.unsaved++
	if begins {
		m.begun = p.Offset
	}
	if begins || m.unsaved >= m.distance {
		e = m.save(now)
	}
	return full, e
}
