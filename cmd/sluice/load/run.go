package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// Run is one run. [New] creates it.
type Run struct {
	opt      Options
	endpoint endpoint
	marker   marker
	channels []string
	epoch    time.Time
	late     *recorder
	result   *Result

	mu     sync.Mutex
	errors map[string]int
	first  error
}

// maxErrors bounds the number of different errors.
const maxErrors = 30

// New checks the options and returns a run.
func New(opt Options) (*Run, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	e, err := newEndpoint(opt.Target.URL, opt.Target.Key, opt.Target.TLS)
	if err != nil {
		return nil, err
	}
	id := strings.ToLower(rand.Text())[:10]
	r := &Run{opt: opt, endpoint: e, marker: marker{"sb-" + id + ":"}, late: newRecorder("", 1), epoch: time.Now(), errors: map[string]int{}}
	for i := range opt.Channels {
		r.channels = append(r.channels, opt.Prefix+id+"-"+strconv.Itoa(i))
	}
	r.result = &Result{Format: Format, Kind: opt.Kind, Started: r.epoch.UTC(), Settings: opt.settings(), Environment: Here(opt.Target.URL)}
	return r, nil
}

// ErrNothing is the error of a run that could not measure anything. Its result is returned nevertheless, with
// the reasons.
var ErrNothing = errors.New("nothing could be measured")

// Do runs. If ctx ends early, the result has what was measured so far. The error wraps ErrNothing and the first
// error of the run.
func (r *Run) Do(ctx context.Context) (*Result, error) {
	if r.opt.Calibrate {
		r.result.Generator.Overhead = r.calibrate(ctx)
	}
	var err error
	switch r.opt.Kind {
	case Subscribe, Self:
		err = r.subscribe(ctx)
	case Publish:
		err = r.publish(ctx)
	case Churn:
		err = r.churn(ctx)
	case Reconnect:
		err = r.reconnect(ctx)
	case Slow:
		err = r.slow(ctx)
	default:
		err = fmt.Errorf("there is no run of the kind %q", r.opt.Kind)
	}
	r.finish(stopped(ctx))
	if err == nil && r.result.empty() && !stopped(ctx) {
		err = ErrNothing
		if r.first != nil {
			err = fmt.Errorf("%w: %w", ErrNothing, r.first)
		}
	}
	return r.result, err
}

func (r *Result) empty() bool {
	for i := range r.Distributions {
		if r.Distributions[i].Count > 0 {
			return false
		}
	}
	return true
}

// finish completes the result.
func (r *Run) finish(interrupted bool) {
	out := r.result
	out.Interrupted = interrupted
	late := r.late.distribution()
	out.Generator.LateP99, out.Generator.LateMax = late.P99, late.Max
	r.mu.Lock()
	out.Errors = r.errors
	r.mu.Unlock()
	measured := 0.0
	for i := range out.Distributions {
		if p99 := out.Distributions[i].P99; p99 > 0 && (measured == 0 || p99 < measured) {
			measured = p99
		}
	}
	notes := judge(&out.Generator, cores(), out.Environment.SameMachine, measured)
	if interrupted {
		notes = append([]string{"it was interrupted: these are the numbers up to then."}, notes...)
	}
	out.Notes = append(notes, out.Notes...)
}

// now returns the time since New, from a monotonic clock.
func (r *Run) now() time.Duration { return time.Since(r.epoch) }

func (r *Run) dispatcher(rate float64, places int, late *recorder) *dispatcher {
	return &dispatcher{pace: pace{rate}, places: make(chan struct{}, places), late: late, now: r.now}
}

// note adds a remark to the result.
func (r *Run) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

// number adds a number to the result.
func (r *Run) number(name, unit string, value float64, better string) {
	r.result.Numbers = append(r.result.Numbers, Number{Name: name, Unit: unit, Value: value, Better: better})
}

// fail counts an error. It is safe for concurrent use.
func (r *Run) fail(doing string, err error) {
	what := doing + ": " + why(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = fmt.Errorf("%s: %w", doing, err)
	}
	if _, known := r.errors[what]; !known && len(r.errors) >= maxErrors {
		what = doing + ": other errors"
	}
	r.errors[what]++
}

// failures returns the number of errors so far.
func (r *Run) failures() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.errors {
		n += k
	}
	return n
}

// why describes an error in a few words that are equal for equal causes.
func why(err error) string {
	var api *client.APIError
	var timeout net.Error
	var dns *net.DNSError
	var u *url.Error
	switch {
	case errors.As(err, &api):
		return fmt.Sprintf("status %d: %.100s", api.Status, api.Message)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no local port is free"
	case errors.Is(err, syscall.EMFILE):
		return "too many open files in this process"
	case errors.As(err, &dns):
		return "the name of the host is not known"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &u):
		err = u.Err
	}
	return fmt.Sprintf("%.160s", err.Error())
}

// progressPause is the time between two calls of Progress.
const progressPause = 100 * time.Millisecond

// progress reports the progress until stop is called.
func (r *Run) progress(how func() (float64, string)) (stop func()) {
	if r.opt.Progress == nil {
		return func() {}
	}
	ended := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(progressPause)
		defer tick.Stop()
		for {
			r.opt.Progress(how())
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	})
	return func() { close(ended); work.Wait() }
}

func stopped(ctx context.Context) bool { return ctx.Err() != nil }

// counted returns a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// rest waits for d or until ctx is done, and reports whether it waited to the end.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
