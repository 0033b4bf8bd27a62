package seldom

import (
	"slices"

	"github.com/sluicehq/sluice/broker/rank"
)

// Lacks are what is not as it should be at present, each a sentence by what it is about. The
// zero value is ready. Safe for concurrent use; it has a lock of its own because readiness and
// metrics ask for it.
type Lacks struct {
	mu   rank.Mutex[rank.Lacks]
	what map[string]string
}

// Note notes why something is lacking, empty if it is not, and says whether that is new.
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

// List has the sentences, in order.
func (l *Lacks) List() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.what {
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}
