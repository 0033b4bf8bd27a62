package duties

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Begin begins a duty, and returns the function that ends it.
type Begin func(ctx context.Context) (stop func(), err error)

// Options configure [Duties]. All are required.
type Options struct {
	// Context ends attempts, and Timeout bounds each.
	Context context.Context
	Timeout time.Duration
	// Background runs a function in a goroutine that ends with Context, and reports false if it does not run it.
	// Pause waits, and reports false when Context ends.
	Background func(func()) bool
	Pause      func(time.Duration) bool
	Logger     *slog.Logger
}

// Duties are the present duties, by their description. [New] creates it. Its methods are safe for concurrent
// use, except that Take must not run concurrently with itself.
type Duties struct {
	opt Options

	mu     rank.Mutex[rank.Lacks]
	closed bool
	all    map[string]*duty
}

// duty is one duty.
type duty struct {
	// stop ends it; nil while it has not begun.
	stop func()
	// lack is why it has not begun, empty if no attempt has failed.
	lack string
}

// New returns Duties without any duty.
func New(opt Options) *Duties { return &Duties{opt: opt, all: map[string]*duty{}} }

// retryPause is the pause after a failed attempt.
const retryPause = time.Second

// Take begins the wanted duties that have not begun, and ends those that are no longer wanted. A failure is
// listed in Problems and retried in the background.
func (d *Duties) Take(wanted map[string]Begin) {
	begun, ended := map[string]*duty{}, []func(){}
	d.mu.Lock()
	for what, one := range d.all {
		if _, stays := wanted[what]; !stays {
			delete(d.all, what)
			if one.stop != nil {
				ended = append(ended, one.stop)
			}
		}
	}
	for what := range wanted {
		if d.all[what] == nil && !d.closed {
			begun[what] = &duty{}
			d.all[what] = begun[what]
		}
	}
	d.mu.Unlock()
	for _, stop := range ended {
		stop()
	}
	var trying sync.WaitGroup
	for what, one := range begun {
		trying.Go(func() { d.insist(what, one, wanted[what]) })
	}
	trying.Wait()
}

// insist begins a duty. If that fails, it retries in the background as long as the duty is wanted.
func (d *Duties) insist(what string, one *duty, begin Begin) {
	if d.try(what, one, begin) {
		return
	}
	d.opt.Background(func() {
		for d.opt.Pause(retryPause) && !d.try(what, one, begin) {
		}
	})
}

// try makes one attempt, and reports false if another is needed.
func (d *Duties) try(what string, one *duty, begin Begin) bool {
	if !d.wanted(what, one, nil) {
		return true
	}
	ctx, cancel := context.WithTimeout(d.opt.Context, d.opt.Timeout)
	defer cancel()
	stop, err := begin(ctx)
	if err == nil {
		if !d.wanted(what, one, stop) {
			stop()
		}
		return true
	}
	if d.opt.Context.Err() != nil {
		return true
	}
	why := fmt.Sprintf("%s are not followed: %v", what, err)
	d.mu.Lock()
	isNew := one.lack == ""
	one.lack = why
	d.mu.Unlock()
	if isNew {
		d.opt.Logger.Error("a part of an app does not work; it is tried again", "what", what, "error", err)
	}
	return false
}

// wanted reports whether a duty is still wanted. If it has begun, stop is stored.
func (d *Duties) wanted(what string, one *duty, stop func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.all[what] != one {
		return false
	}
	if stop != nil {
		one.stop, one.lack = stop, ""
	}
	return true
}

// Problems returns what is not followed, sorted.
func (d *Duties) Problems() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, one := range d.all {
		if one.lack != "" {
			out = append(out, one.lack)
		}
	}
	slices.Sort(out)
	return out
}

// Close ends all duties. None begins afterwards.
func (d *Duties) Close() {
	d.mu.Lock()
	d.closed = true
	all := d.all
	d.all = nil
	d.mu.Unlock()
	for _, one := range all {
		if one.stop != nil {
			one.stop()
		}
	}
}
