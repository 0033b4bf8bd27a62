package streams

import (
	"sort"

	"github.com/sluicehq/sluice/broker"
)

// problem is one reason for which the log may not be ready.
type problem struct {
	text string
	// app is the affected app, empty for all apps.
	app string
	// mild says that everything still works.
	mild bool
}

// problem records a problem with something that all apps need. A nil error ends the problem.
func (l *Log) problem(what string, err error) { l.appProblem("", what, err) }

// appProblem records a problem with something that one app needs. A nil error ends the problem.
func (l *Log) appProblem(app, what string, err error) { l.tell(app, what, err, false) }

// appNote records a mild problem. A nil error ends it.
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

// Health implements [broker.Log]. A problem of some apps does not affect the others: the log is ready as long as one app can
// use it.
func (l *Log) Health() broker.Health {
	h := broker.Health{Backend: "jetstream", Ready: true}
	h.Durability, h.Level = l.durability()
	for _, k := range l.links() {
		if state := k.state(); state != "" {
			h.Ready = false
			h.Problems = append(h.Problems, state)
		}
	}
	// Problems with connections come first, because they cause others.
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
