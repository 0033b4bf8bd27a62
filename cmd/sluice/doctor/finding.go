package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Level is the severity of a finding.
type Level string

// The levels of findings. An Error keeps a server from starting or from doing what the configuration says. A
// Warning may become a problem, or may be intended. A Note is information. Fine means that a check found no
// problem.
const (
	Fine    Level = "fine"
	Note    Level = "note"
	Warning Level = "warning"
	Error   Level = "error"
)

// Finding is the result of one check.
type Finding struct {
	Level Level `json:"level"`
	// Area is the subject: configuration, secrets, log, machine, data, public address, proxy. Check names the
	// check and stays the same between releases.
	Area  string `json:"area"`
	Check string `json:"check"`
	// Is describes the state, and Do what to do about it, empty for nothing.
	Is string `json:"is"`
	Do string `json:"do,omitempty"`
}

// findings collects the findings of one area.
type findings struct {
	area string
	all  []Finding
}

func (f *findings) add(level Level, check, do, format string, args ...any) {
	f.all = append(f.all, Finding{level, f.area, check, fmt.Sprintf(format, args...), do})
}

func (f *findings) fine(check, format string, args ...any) { f.add(Fine, check, "", format, args...) }
func (f *findings) note(check, do, format string, args ...any) {
	f.add(Note, check, do, format, args...)
}
func (f *findings) warn(check, do, format string, args ...any) {
	f.add(Warning, check, do, format, args...)
}
func (f *findings) fail(check, do, format string, args ...any) {
	f.add(Error, check, do, format, args...)
}

// Report has all findings.
type Report struct {
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
}

// NewReport joins findings in their order.
func NewReport(version string, all ...[]Finding) *Report {
	r := &Report{Version: version, Findings: slices.Concat(all...)}
	for _, f := range r.Findings {
		switch f.Level {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		}
	}
	return r
}

// Print prints a report. Findings of level Fine take one line each, and are omitted if brief is set.
func (r *Report) Print(w io.Writer, brief bool) error {
	var b strings.Builder
	area := ""
	for _, f := range r.Findings {
		if brief && f.Level == Fine {
			continue
		}
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(area))
		}
		fmt.Fprintf(&b, "  %-8s %s: %s\n", f.Level, f.Check, f.Is)
		if f.Do != "" {
			fmt.Fprintf(&b, "           -> %s\n", f.Do)
		}
	}
	fmt.Fprintf(&b, "\n%s, %s\n", counted(r.Errors, "error"), counted(r.Warnings, "warning"))
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// bytesOf formats a size.
func bytesOf(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
