package seldom

import (
	"slices"

	"github.com/sluicehq/sluice/broker/rank"
)

// Lacks holds the present problems, each a sentence by subject. The zero value is ready to use. Safe for
// concurrent use; it has its own lock because readiness and metrics read it.
type Lacks struct {
	mu   rank.Mutex[rank.Lacks]
	what map[string]string
}

// Note records the problem of a subject; an empty why clears it. It reports whether the subject had no
// problem before.
func (l *Lacks) Note(what, why string) (isNew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why == "" {
		delete(l.what, what)
		return false
	}
	if l.what == nil {
		l.what = map[string]string{}
	}
	isNew = l.what[what] == ""
	l.what[what] = why
	return isNew
}

// List returns the sentences, sorted.
func (l *Lacks) List() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.what {
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}
