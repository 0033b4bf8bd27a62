package load

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// row is one line of the table.
type row struct {
	name   string
	value  float64
	unit   string
	better string
}

// rows returns the rows of a result.
func (r *Result) rows() []row {
	var out []row
	for _, n := range r.Numbers {
		out = append(out, row{n.Name, n.Value, n.Unit, n.Better})
	}
	for i := range r.Distributions {
		d := &r.Distributions[i]
		if d.Count == 0 {
			continue
		}
		for _, p := range []struct {
			name  string
			value float64
		}{{"p50", d.P50}, {"p90", d.P90}, {"p99", d.P99}, {"p99.9", d.P999}, {"max", d.Max}} {
			out = append(out, row{d.Name + ", " + p.name, p.value, "ms", "less"})
		}
	}
	return out
}

// Print prints a result as a table, with an earlier one beside it unless that is nil.
func (r *Result) Print(w io.Writer, before *Result) error {
	var b strings.Builder
	r.head(&b)
	rows, width := r.rows(), 0
	var old map[string]row
	if before != nil {
		old = map[string]row{}
		for _, o := range before.rows() {
			old[o.name] = o
			width = max(width, len(o.name))
		}
	}
	for _, n := range rows {
		width = max(width, len(n.name))
	}
	fmt.Fprintln(&b)
	if old == nil {
		fmt.Fprintf(&b, "%-*s  %14s\n", width, "", strings.ToUpper(string(r.Kind)))
	} else {
		fmt.Fprintf(&b, "%-*s  %14s  %14s  %10s\n", width, "", "NOW", "BEFORE", "CHANGE")
	}
	for _, n := range rows {
		fmt.Fprintf(&b, "%-*s  %14s", width, n.name, shown(n.value, n.unit))
		if o, known := old[n.name]; known {
			fmt.Fprintf(&b, "  %14s  %10s", shown(o.value, o.unit), change(n, o))
			delete(old, n.name)
		} else if old != nil {
			fmt.Fprintf(&b, "  %14s  %10s", "-", "")
		}
		fmt.Fprintln(&b)
	}
	if before != nil {
		for _, o := range before.rows() {
			if _, left := old[o.name]; left {
				fmt.Fprintf(&b, "%-*s  %14s  %14s\n", width, o.name, "-", shown(o.value, o.unit))
			}
		}
	}
	r.foot(&b, before)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) head(b *strings.Builder) {
	e, s := &r.Environment, &r.Settings
	parts := []string{}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s.Connections > 0 {
		add("%s", counted(s.Connections, "connection"))
	}
	add("%s", counted(s.Channels, s.ChannelType+" channel"))
	if s.Rate > 0 {
		what := "message"
		if r.Kind == Churn {
			what = "visit"
		}
		add("%g %ss a second", s.Rate, what)
	}
	if s.Size > 0 {
		add("%d bytes each", s.Size)
	}
	if s.SlowConnections > 0 {
		add("%d slow at %d bytes a second", s.SlowConnections, s.SlowRate)
	}
	if s.Rounds > 0 {
		add("%s, back within %s", counted(s.Rounds, "round"), s.Spread)
	}
	fmt.Fprintf(b, "%s: %s; measured for %.1f s\n", r.Kind, strings.Join(parts, ", "), r.Seconds)
	where := "another machine"
	if e.SameMachine {
		where = "the same machine"
	}
	fmt.Fprintf(b, "server:    %s at %s, on %s\n", e.Server, e.URL, where)
	fmt.Fprintf(b, "generator: sluice %s, %s, %s\n", e.Generator, e.Go, e.System)
	fmt.Fprintf(b, "machine:   %s, %d x %s, %.1f GiB, kernel %s\n", e.Host, e.Cores, e.CPU, float64(e.Memory)/(1<<30), e.Kernel)
}

// foot prints the cost of the generator, the errors and the notes.
func (r *Result) foot(b *strings.Builder, before *Result) {
	g := &r.Generator
	fmt.Fprintf(b, "\ngenerator: %.1f us of processor time a message, %.2f of %d processors; begun late by %.2f ms (p99), read late by %.2f ms (p99)\n",
		g.CPUPerMessage, g.Usage.Cores, r.Environment.Cores, g.LateP99, g.Usage.WaitP99)
	if o := g.Overhead; o != nil {
		fmt.Fprintf(b, "by itself: at most %.1f us a delivery and %.1f us a publish, delivery in %.2f ms (p99), with a trivial server in its process\n",
			o.CPUPerDelivery, o.CPUPerPublish, o.DeliveryP99)
	}
	if len(r.Errors) > 0 {
		fmt.Fprintln(b, "errors:")
		var names []string
		for name := range r.Errors {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, c string) int { return r.Errors[c] - r.Errors[a] })
		for _, name := range names {
			fmt.Fprintf(b, "%10d  %s\n", r.Errors[name], name)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	if before != nil {
		for _, n := range differences(r, before) {
			fmt.Fprintf(b, "note: %s\n", n)
		}
	}
}

// differences returns reasons why two results are not comparable.
func differences(now, before *Result) (out []string) {
	differ := func(what string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("the results differ in %s: now %v, before %v.", what, a, b))
		}
	}
	differ("kind", now.Kind, before.Kind)
	differ("settings", now.Settings, before.Settings)
	a, b := &now.Environment, &before.Environment
	differ("machine", fmt.Sprintf("%s, %d x %s", a.Host, a.Cores, a.CPU), fmt.Sprintf("%s, %d x %s", b.Host, b.Cores, b.CPU))
	differ("kernel", a.Kernel, b.Kernel)
	differ("where the server is", a.SameMachine, b.SameMachine)
	for _, r := range []struct {
		which string
		*Result
	}{{"this", now}, {"the earlier", before}} {
		if r.Interrupted {
			out = append(out, r.which+" result is of a run that was interrupted.")
		}
		if r.Generator.Bottleneck && r.Result == before {
			out = append(out, "the generator was the bottleneck in the earlier result.")
		}
	}
	return out
}

// shown formats a number with a suitable precision.
func shown(v float64, unit string) string {
	text := ""
	switch {
	case v == float64(int64(v)) && unit == "":
		text = thousands(fmt.Sprintf("%d", int64(v)))
	case v >= 1000:
		text = thousands(fmt.Sprintf("%.0f", v))
	case v >= 10:
		text = fmt.Sprintf("%.1f", v)
	default:
		text = fmt.Sprintf("%.3f", v)
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// thousands inserts commas into a whole number.
func thousands(digits string) string {
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "-", rest
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// change formats the difference to the earlier number, with a mark if it is better or worse by more than 5 %.
func change(now, before row) string {
	if before.value == 0 {
		if now.value == 0 {
			return "="
		}
		return ""
	}
	part := (now.value - before.value) / before.value
	text := fmt.Sprintf("%+.1f %%", 100*part)
	if now.better == "" || part > -0.05 && part < 0.05 {
		return text
	}
	if (part > 0) == (now.better == "more") {
		return text + " +"
	}
	return text + " !"
}
