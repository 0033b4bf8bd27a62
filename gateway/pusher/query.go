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
	q := Query{Params: url.Values{}}
	type pair struct{ name, value string }
	var sent []pair
	lists := false
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return Query{}, fmt.Errorf("the name of a parameter: %w", err)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return Query{}, fmt.Errorf("the parameter %.64q: %w", name, err)
		}
		if err := checkParameter(name, value); err != nil {
			return Query{}, err
		}
		name = strings.ToLower(name)
		sent = append(sent, pair{name, value})
		base, list := listName(name)
		lists = lists || list
		if values := q.Params[base]; len(values) > 0 {
			value = values[0] + "," + value
		}
		q.Params[base] = []string{value}
	}
	if !lists {
		return q, nil
	}
	slices.SortStableFunc(sent, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	var texts []string
	for _, p := range sent {
		if p.name != "auth_signature" {
			texts = append(texts, p.name+"="+p.value)
		}
	}
	q.Listed = strings.Join(texts, "&")
	return q, nil
}

func checkParameter(name, value string) error {
	switch {
	case !utf8.ValidString(name) || !utf8.ValidString(value):
		return fmt.Errorf("the parameter %.64q is not UTF-8", name)
	case strings.ContainsAny(name, "&="):
		return fmt.Errorf("the name of the parameter %.64q has a & or =", name)
	case strings.Contains(value, "&"):
		return fmt.Errorf("the value of the parameter %.64q has a &, which signatures cannot tell from the next parameter", name)
	case strings.ContainsFunc(name+value, unicode.IsControl):
		return fmt.Errorf("the parameter %.64q has a control character", name)
	}
	return nil
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
