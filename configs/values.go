package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problems collects all problems, each once.
type problems struct {
	list []string
	// failed are the keys with a reported problem, so that consequences of it are not reported as well. unread
	// are those of them whose value could not be expanded.
	failed, unread map[string]bool
}

func newProblems() *problems {
	return &problems{failed: map[string]bool{}, unread: map[string]bool{}}
}

// add reports a problem that does not concern one key only.
func (p *problems) add(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.list, text) {
		p.list = append(p.list, text)
	}
}

// at reports a problem of a key, unless it already has one.
func (p *problems) at(path, format string, args ...any) {
	if p.sound(path) {
		p.fail(path)
		p.add(format, args...)
	}
}

func (p *problems) fail(path string) {
	if p.failed == nil {
		p.failed, p.unread = map[string]bool{}, map[string]bool{}
	}
	p.failed[path] = true
}

// sound reports whether none of the keys has a problem.
func (p *problems) sound(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool { return p.failed[path] })
}

// Error has all problems of a configuration.
type Error struct{ Problems []string }

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("configuration has %d problems:\n  - %s", len(e.Problems), strings.Join(e.Problems, "\n  - "))
}

// shown returns a value for an error message. The parts of structures may be secrets, whatever their key is.
func (k *key) shown(v any) string {
	if k.kind == secret {
		return redacted
	}
	switch v.(type) {
	case map[string]any:
		return "a structure"
	case []any, []string:
		return "a list"
	}
	switch k.kind {
	case address:
		return strconv.Quote(redactURL(fmt.Sprint(v)))
	case texts:
		return "given"
	}
	if s, ok := v.(string); ok && !decimal.MatchString(s) {
		return strconv.Quote(shorten(s))
	}
	return shorten(fmt.Sprint(v))
}

func shorten(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// units are the names of the units of whole numbers, so that a message shows which unit is meant.
var units = map[string]string{"s": "seconds", "ms": "milliseconds", "bytes": "bytes", "KiB": "KiB"}

// allowed describes the valid values of a key.
func (k *key) allowed() string {
	switch k.kind {
	case boolean:
		return "true or false"
	case choice:
		return "one of " + strings.Join(k.choices, ", ")
	case integer:
		if k.min == k.max {
			return k.bounds()
		}
		if of := units[k.unit]; of != "" {
			return "a whole number of " + of + " " + k.bounds()
		}
		return "a whole number " + k.bounds()
	case duration:
		if k.coarse {
			return fmt.Sprintf("a number of whole seconds such as 10s or 2m, %s s", k.bounds())
		}
		return fmt.Sprintf("a duration such as 500ms, 10s or 2m, or a number of seconds, %s s", k.bounds())
	case texts:
		return "a text or a list of texts"
	}
	return "a text"
}

func (k *key) bounds() string {
	switch {
	case k.max == 0:
		return fmt.Sprintf("from %d up", k.min)
	case k.min == k.max:
		return fmt.Sprint(k.min)
	}
	return fmt.Sprintf("from %d to %d", k.min, k.max)
}

// textual reports whether a key takes texts, for which their notation matters.
func (k *key) textual() bool {
	switch k.kind {
	case text, address, secret, file, texts:
		return true
	}
	return false
}

// value converts a raw value to the type of the key. path names it in messages, with the source in parentheses
// if that is not the file. An empty value gives false and no problem.
func (k *key) value(path string, v any, p *problems) (any, bool) {
	name, _, _ := strings.Cut(path, " (")
	if w, is := v.(word); is {
		switch {
		case k.textual():
			p.at(name, "%s is %s without quotes, must be %s; put it in quotes", path, k.shown(v), k.allowed())
			return nil, false
		case w.null():
			return nil, false
		}
		v = string(w)
	}
	if v == nil {
		return nil, false
	}
	out, ok := k.coerce(v)
	if k.kind == secret && out == redacted {
		p.at(name, "%s is %s, which stands for a secret that was not printed; fill it in", path, redacted)
		return nil, false
	}
	if !ok && !p.unread[name] {
		p.add("%s is %s, must be %s", path, k.shown(v), k.allowed())
		p.fail(name)
	}
	return out, ok
}

func (k *key) coerce(v any) (any, bool) {
	switch k.kind {
	case boolean:
		switch x := v.(type) {
		case bool:
			return x, true
		case string:
			b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(x)))
			return b, err == nil
		}
	case integer:
		n, ok := whole(v)
		return n, ok && n >= k.min && (k.max == 0 || n <= k.max)
	case choice:
		if b, ok := v.(bool); ok {
			v = strconv.FormatBool(b)
		}
		s, ok := v.(string)
		s = strings.ToLower(s)
		return s, ok && slices.Contains(k.choices, s)
	case duration:
		d, ok := span(v)
		ok = ok && (!k.coarse || d%time.Second == 0)
		return d, ok && d >= time.Duration(k.min)*time.Second && (k.max == 0 || d <= time.Duration(k.max)*time.Second)
	case texts:
		return list(v)
	case text, address, secret, file:
		s, ok := v.(string)
		return s, ok
	case tree:
		return v, true
	}
	return nil, false
}

// decimal matches whole numbers. Other notations, such as 0x1F, 0017 and 1_000, mean different numbers in
// different formats.
var decimal = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]*)$`)

func whole(v any) (int64, bool) {
	switch x := v.(type) {
	case int:
		return int64(x), true
	case int64:
		return x, true
	case string:
		x = strings.TrimSpace(x)
		n, err := strconv.ParseInt(x, 10, 64)
		return n, err == nil && decimal.MatchString(x)
	}
	return 0, false
}

func span(v any) (time.Duration, bool) {
	if d, ok := v.(time.Duration); ok {
		return d, true
	}
	if n, ok := whole(v); ok {
		return time.Duration(n) * time.Second, n >= 0 && n < 1<<32
	}
	s, ok := v.(string)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(strings.TrimSpace(s))
	return d, err == nil
}

func list(v any) ([]string, bool) {
	switch x := v.(type) {
	case []string:
		return x, true
	case string:
		out := []string{}
		for part := range strings.SplitSeq(x, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
		// Only commas are a mistake, not an empty list.
		return out, len(out) > 0 || strings.TrimSpace(x) == ""
	case []any:
		out := []string{}
		for _, e := range x {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// nearest returns the known name with the smallest difference, or "" if none is similar.
func nearest(name string, known []string) string {
	best, least := "", 1+len(name)/3
	for _, k := range known {
		if d := distance(name, k); d <= least && (best == "" || d < distance(name, best)) {
			best = k
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

func names(table []key) []string {
	out := make([]string, len(table))
	for i := range table {
		out[i] = table[i].name
	}
	return out
}

// namedOtherwise are keys of other servers of the protocol that have another name here.
var namedOtherwise = map[string]string{
	"ssl": "tls", "ssl.enabled": "tls.cert_file", "ssl.cert_path": "tls.cert_file", "ssl.certPath": "tls.cert_file",
	"ssl.key_path": "tls.key_file", "ssl.keyPath": "tls.key_file", "ssl.redirect_http": "tls.http_port", "ssl.http_port": "tls.http_port",
}

func unknown(p *problems, where, name string, known []string) {
	if len(name) > 100 {
		name = name[:100] + "..."
	}
	if own := namedOtherwise[name]; own != "" && where == "" {
		p.add("%s is not a known key; here it is %s", name, own)
		return
	}
	if near := nearest(name, known); near != "" {
		p.add("%s%s is not a known key; did you mean %s%s?", where, name, where, near)
		return
	}
	p.add("%s%s is not a known key", where, name)
}
