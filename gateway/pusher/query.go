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
// acts on them. What is signed has one meaning: two queries with the same signed text,
// be it that of Params or Listed, have the same Params.
type Query struct {
	// Params have names in lower case and one value each. Values of a name that comes
	// more than once, or as a list (`info[]`, `info[0]`), are joined by commas, as most
	// SDKs sign them: those of a list by its numbers, others in the order of the query.
	Params url.Values
	// Listed is the signed text with the names of lists as they were sent, for SDKs that
	// sign these, empty if there are no lists.
	Listed string
}

// maxParameters bounds those of a query, which are read before anybody knows whose it is.
const maxParameters = 100

// ParseQuery reads a raw query of at most 100 parameters. They are separated by `&` alone,
// since names of channels may have a `;`. A value may hold neither `&` nor control characters:
// the signature covers decoded values and could not tell them from further parameters.
func ParseQuery(raw string) (Query, error) {
	n := min(strings.Count(raw, "&")+1, maxParameters)
	sent, lists := make([]parameter, 0, n), false
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(sent) == maxParameters {
			return Query{}, fmt.Errorf("there are more than %d parameters", maxParameters)
		}
		p, err := readParameter(part)
		if err != nil {
			return Query{}, err
		}
		sent, lists = append(sent, p), lists || p.base != p.name
	}
	var q Query
	if lists {
		q.Listed = listed(sent)
	}
	q.Params = joined(sent)
	return q, nil
}

// listed sorts parameters by their names as they were sent, and returns the text that some SDKs sign.
func listed(sent []parameter) string {
	slices.SortStableFunc(sent, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	var texts []string
	for _, p := range sent {
		if p.name != "auth_signature" {
			texts = append(texts, p.name+"="+p.value)
		}
	}
	// The order of values must come from what is signed alone. Shorter numbers are smaller ones.
	slices.SortStableFunc(sent, func(a, b parameter) int { return len(a.name) - len(b.name) })
	return strings.Join(texts, "&")
}

// joined has the values of each name, in the order of the parameters.
func joined(sent []parameter) url.Values {
	params := make(url.Values, len(sent))
	// The values of all parameters lie side by side.
	values, again := make([]string, 0, len(sent)), false
	for _, p := range sent {
		if have := params[p.base]; len(have) > 0 {
			params[p.base], again = append(have, p.value), true
			continue
		}
		values = append(values, p.value)
		params[p.base] = values[len(values)-1 : len(values) : len(values)]
	}
	if again {
		for name, have := range params {
			params[name] = []string{strings.Join(have, ",")}
		}
	}
	return params
}

// parameter is one as it was sent, with its name in lower case. base is the name of the list of
// which it is an element, or its name again.
type parameter struct{ name, base, value string }

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
	name = strings.ToLower(name)
	return parameter{name, listName(name), value}, nil
}

// Parameter is the first value that a raw query has for a name, "" if there is none: what
// [url.Values.Get] returns for it, without room for all the others, of which there may be thousands.
func Parameter(raw, name string) string {
	for part := range strings.SplitSeq(raw, "&") {
		if strings.Contains(part, ";") {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		if got, err := unescapeQuery(rawName); err != nil || got != name {
			continue
		}
		if value, err := unescapeQuery(rawValue); err == nil {
			return value
		}
	}
	return ""
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

// listName is the name of the list of which this names an element, or else the name itself.
func listName(name string) string {
	base, index, ok := strings.Cut(name, "[")
	index, closed := strings.CutSuffix(index, "]")
	if !ok || !closed || base == "" || index != "" && !digits(index) {
		return name
	}
	return base
}
