package count

import (
	"strings"
	"time"
)

const (
	// TTL is how long checkpoints must live.
	TTL = 5 * time.Minute
	// idle is the silence after which all counts of a channel start again: half of the
	// time that a checkpoint lives, so that nobody counts on from what a newcomer cannot
	// find any more.
	idle = TTL / 2
	// minDistance is the least number of publications between checkpoints.
	minDistance = 20
	// retryInterval is the time between attempts to count with the cluster, and to write
	// after a failure.
	retryInterval = 5 * time.Second
	// maxWaiting bounds the publications that wait while a count is looked up. Beyond it
	// the gateway counts by itself.
	maxWaiting = 8192
)

// State is how a [Machine] comes to its decisions.
type State uint8

const (
	// Idle: by its own count, which is nobody else's concern.
	Idle State = iota
	// Looking: everything goes out in full until the cluster's count is known.
	Looking
	// Counting: by the cluster's count.
	Counting
	// Alone: by its own count, since the cluster's could not be had. It is asked for again
	// from time to time.
	Alone
)

// Effect is what the owner of a [Machine] must do, in any order, before the next input.
type Effect uint8

const (
	// LookUp: look up the cluster's count, and answer with Found or Unanswered.
	LookUp Effect = 1 << iota
	// LookUpSoon: the same in a moment. Whoever was asked had not caught up.
	LookUpSoon
	// Save: in a moment, ask Checkpoint what to write, and answer with Written, Blocked,
	// Vanished, WriteFailed or Unsaved.
	Save
	// Contradicted: somebody's checkpoint contradicts the count here. Nothing need be done.
	Contradicted
)

// Publication is what is counted.
type Publication struct {
	Offset, Prev uint64
	Time         time.Time
	// Value is the conflation value, empty in single-base mode.
	Value string
	// Plain ones take no part: they have a place, and are not counted.
	Plain bool
}

// Moment is now, by the clock of this gateway and by that of the log.
type Moment struct{ Here, Log time.Time }

// Settings of a channel, alike on all gateways.
type Settings struct {
	// Interval and MaxValues are arguments of [NewInterval].
	Interval, MaxValues int
	// Retained is the number of publications that the log keeps, 0 if it is bounded by
	// other means only.
	Retained int
}

// distance is the number of publications between checkpoints.
func (s Settings) distance() int {
	d := max(s.Interval, minDistance)
	if s.Retained > 0 {
		d = max(1, min(d, s.Retained/4))
	}
	return d
}

func (s Settings) interval() *Interval { return NewInterval(s.Interval, s.MaxValues, idle) }

// Machine keeps the count of one channel in step with other gateways: it derives the count
// from the log, begins from a checkpoint of the cluster and has checkpoints written for those
// that come later. It is for one goroutine at a time.
type Machine struct {
	settings Settings
	distance int
	interval *Interval
	// brought is the offset up to which the feed has brought everything, and arrived when
	// the last publication came, by this gateway's clock.
	brought uint64
	arrived time.Time
	together
}

// together is what a machine knows that does not count by itself.
type together struct {
	state State
	// asked is set while the count is looked up, always in Looking and at times in Alone.
	// Publications wait for it, and the last checkpoint that was heard of meanwhile.
	asked   bool
	waiting []Publication
	pending *Snapshot
	// alone is when the count could not be had last.
	alone time.Time
	// revision and saved are those of the last known checkpoint, unsaved counts the
	// publications since then; begun is the one with which the count began that must be
	// saved soon.
	revision, saved uint64
	savedAt         time.Time
	unsaved         int
	begun           uint64
	saving          bool
	// failed is when writing a checkpoint last failed, zero once it succeeded.
	failed time.Time
	marks  marks
}

// NewMachine returns one that is idle and has seen nothing.
func NewMachine(s Settings) *Machine {
	return &Machine{settings: s, distance: s.distance(), interval: s.interval()}
}

// State tells how decisions are made at present.
func (m *Machine) State() State { return m.state }

// Unwritten reports whether the last checkpoint could not be written.
func (m *Machine) Unwritten() bool { return !m.failed.IsZero() }

// Join begins to count with the cluster.
func (m *Machine) Join() Effect { return m.ask(LookUp) }

// Leave ends counting with the cluster.
func (m *Machine) Leave() { m.together = together{} }

// Begin begins a new life of the log, of which nothing is counted.
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

// Lost notes that what the feed should have brought up to an offset is missing.
func (m *Machine) Lost(offset uint64) Effect {
	m.brought = offset
	if m.state == Idle {
		return 0
	}
	return m.ask(LookUp)
}

// Tick lets time pass: checkpoints that have grown old are written, and the cluster's count
// is asked for again where that has failed.
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

// Past counts a publication that was read from the log, of a machine that is idle.
func (m *Machine) Past(p Publication) (full bool) { return m.count(p, false) }

// Publication counts one that the feed has brought, and tells whether it goes out in full.
func (m *Machine) Publication(p Publication, now time.Time) (full bool, e Effect) {
	m.Arrived(p.Offset, now)
	switch {
	case m.state == Idle:
		return m.count(p, true), 0
	case !m.asked:
	case len(m.waiting) < maxWaiting:
		m.wait(p)
		// Who has counted alone goes on until there is something better.
		return m.state == Looking || m.count(p, true), 0
	default:
		m.Unanswered(now)
	}
	return m.step(p, true, now)
}

// wait has a publication wait for the count. Its value may be part of data that should not be kept alive.
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

// step counts a publication and what it means for the cluster.
func (m *Machine) step(p Publication, live bool, now time.Time) (full bool, e Effect) {
	last, _ := m.interval.Position()
	if live && p.Offset > last && p.Prev > last && m.state != Alone {
		// The log was read from a replica that was behind: what it did not have was not
		// counted.
		e = m.ask(LookUpSoon)
		m.wait(p)
		return true, e
	}
	// Counts that begin must be known soon to those who will find nothing to count from:
	// the log was cut, or the checkpoint has expired, or there was nothing yet.
	cleared := p.Prev < last && live || m.interval.Idle(p.Time)
	begins := cleared || m.saved == 0 || p.Prev < m.saved && m.saved < p.Offset
	full = m.count(p, live)
	if p.Offset <= last {
		return full, 0
	}
	if cleared {
		// What was counted before decides nothing any more.
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
