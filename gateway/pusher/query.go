package pusher

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Query are the parameters of a request, read once for the signature and for whoever
// acts on them. What is signed has one meaning: two queries with the same signed text
// have the same Params.
type Query struct {
	// Params have names in lower case and one value each. Values of a name that comes
	// more than once, or as a list (`info[]`, `info[0]`), are joined by commas, as most
	// SDKs sign them.
	Params url.Values
	// Listed is the signed text with the names of lists as they were sent, for SDKs that
	// sign these, empty if there are no lists.
	Listed string
}

// ParseQuery reads a raw query. Parameters are separated by `&` alone, since names of
// channels may have a `;`. A value may hold neither `&` nor control characters: the
// signature covers decoded values and could not tell them from further parameters.
func ParseQuery(raw string) (Query, error) {
	n := strings.Count(raw, "&") + 1
	q := Query{Params: make(url.Values, n)}
	// The values of all parameters lie side by side.
	values := make([]string, 0, n)
	var sent []parameter
	for rest, more := raw, true; more; {
		var part string
		if part, rest, more = strings.Cut(rest, "&"); part == "" {
			continue
		}
		p, err := readParameter(part)
		if err != nil {
			return Query{}, err
		}
		base, list := listName(p.name)
		if list && sent == nil {
			// Only lists are signed in another form, which then has all that was sent.
			if sent, err = sentBefore(raw, rest, more); err != nil {
				return Query{}, err
			}
		} else if sent != nil {
			sent = append(sent, p)
		}
		if have := q.Params[base]; len(have) > 0 {
			have[0] += "," + p.value
			continue
		}
		values = append(values, p.value)
		q.Params[base] = values[len(values)-1 : len(values) : len(values)]
	}
	if sent == nil {
		return q, nil
	}
	slices.SortStableFunc(sent, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	var texts []string
	for _, p := range sent {
		if p.name != "auth_signature" {
			texts = append(texts, p.name+"="+p.value)
		}
	}
	q.Listed = strings.Join(texts, "&")
	return q, nil
}

// parameter is one as it was sent, with its name in lower case.
type parameter struct{ name, value string }

func readParameter(part string) (parameter, error) {
	rawName, rawValue, _ := strings.Cut(part, "=")
	name, err := unescapeQuery(rawName)
	if err != nil {
		return parameter{}, fmt.Errorf("the name of a parameter: %w", err)
	}
	value, err := unescapeQuery(rawValue)
	if err != nil {
		return parameter{}, fmt.Errorf("the parameter %.64q: %w", name, err)
	}
	if err := checkParameter(name, value); err != nil {
		return parameter{}, err
	}
	return parameter{strings.ToLower(name), value}, nil
}

// sentBefore are the parameters of a query up to the one behind which rest is.
func sentBefore(raw, rest string, more bool) ([]parameter, error) {
	if more {
		raw = raw[:len(raw)-len(rest)-1]
	}
	var out []parameter
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		p, err := readParameter(part)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func unescapeQuery(text string) (string, error) {
	if strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0 {
		return text, nil
	}
	return url.QueryUnescape(text)
}

func checkParameter(name, value string) error {
	if tame(name) && tame(value) {
		return nil // as nearly all are
	}
	switch {
	case !utf8.ValidString(name) || !utf8.ValidString(value):
		return fmt.Errorf("the parameter %.64q is not UTF-8", name)
	case strings.ContainsAny(name, "&="):
		return fmt.Errorf("the name of the parameter %.64q has a & or =", name)
	case strings.Contains(value, "&"):
		return fmt.Errorf("the value of the parameter %.64q has a &, which signatures cannot tell from the next parameter", name)
	case strings.ContainsFunc(name, unicode.IsControl), strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("the parameter %.64q has a control character", name)
	}
	return nil
}

// tame tells whether a text has nothing but ASCII that means nothing in a query.
func tame(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '&' || c == '=' {
			return false
		}
	}
	return true
}

// listName is the name of a list of which this names an element, and whether it does.
func listName(name string) (string, bool) {
	base, index, ok := strings.Cut(name, "[")
	index, closed := strings.CutSuffix(index, "]")
	if !ok || !closed || base == "" || index != "" && !digits(index) {
		return name, false
	}
	return base, true
}
