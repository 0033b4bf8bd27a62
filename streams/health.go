package streams

import (
	"sort"

	"github.com/sluicehq/sluice/broker"
)

// problem is something that is wrong.
type problem struct {
	text string
	// app is the one that it concerns, empty for all.
	app string
	// A mild one keeps nothing from working.
	mild bool
}

// problem notes what is wrong with something that all apps need, or that nothing is.
func (l *Log) problem(what string, err error) { l.appProblem("", what, err) }

// appProblem notes what is wrong with something that one app needs.
func (l *Log) appProblem(app, what string, err error) { l.tell(app, what, err, false) }

// appNote notes what somebody should know about something, and what keeps nothing from working.
func (l *Log) appNote(app, what string, err error) { l.tell(app, what, err, true) }

func (l *Log) tell(app, what string, err error, mild bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.problems, what)
		return
	}
	if _, known := l.apps.Find(app); app == "" || known {
		l.problems[what] = problem{what + ": " + err.Error(), app, mild}
	}
}

// Health implements [broker.Log]. What concerns some of the apps is a problem, and the rest
// goes on working: the log is ready as long as one app can use it.
func (l *Log) Health() broker.Health {
	h := broker.Health{Backend: "jetstream", Ready: true}
	h.Durability, h.Level = l.durability()
	for _, k := range l.links() {
		if state := k.state(); state != "" {
			h.Ready = false
			h.Problems = append(h.Problems, state)
		}
	}
	// What is wrong with connections is why other things are.
	causes := len(h.Problems)
	failing := map[string]bool{}
	l.mu.Lock()
	for _, p := range l.problems {
		h.Problems = append(h.Problems, p.text)
		switch {
		case p.mild, p.app == broker.GatewaysApp:
		case p.app == "":
			h.Ready = false
		default:
			failing[p.app] = true
		}
	}
	l.mu.Unlock()
	h.Ready = h.Ready && (len(failing) == 0 || len(failing) < l.apps.Len()-1)
	sort.Strings(h.Problems[causes:])
	return h
}
