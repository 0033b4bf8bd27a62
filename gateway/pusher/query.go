package pusher

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Query are the parameters of a request, parsed once for the signature and for everything else. A signed text
// has only one meaning: two queries with the same signed text, be it that of Params or Listed, have the same
// Params.
type Query struct {
	// Params have lower-case names and one value each. If a name is repeated, or is a list (`info[]`,
	// `info[0]`), its values are joined by commas, as most SDKs sign them: those of a list by their indexes,
	// others in the order of the query.
	Params url.Values
	// Listed is the signed text with the names of lists as sent, for SDKs that sign these; empty if there are no
	// lists.
	Listed string
}

// maxParameters bounds the parameters of a query, which are parsed before the request is authenticated.
const maxParameters = 100

// ParseQuery parses a raw query of at most 100 parameters. Only `&` separates them, because names of channels
// may contain `;`. A value may contain neither `&` nor control characters: the signature covers decoded values
// and could not distinguish them from further parameters.
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

// listed sorts parameters by the names as sent, and returns the text that some SDKs sign.
func listed(sent []parameter) string {
	slices.SortStableFunc(sent, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	var texts []string
	for _, p := range sent {
		if p.name != "auth_signature" {
			texts = append(texts, p.name+"="+p.value)
		}
	}
	// The order of values must be derived only from what is signed. Shorter indexes are smaller numbers.
	slices.SortStableFunc(sent, func(a, b parameter) int { return len(a.name) - len(b.name) })
	return strings.Join(texts, "&")
}

// joined joins the values of each name, in the order of the parameters.
func joined(sent []parameter) url.Values {
	params := make(url.Values, len(sent))
	// The values of all parameters share one slice.
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

// parameter is a parameter as sent, with its name in lower case. base is the name of its list, or the name if it
// is not in a list.
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

// Parameter returns the first value of a name in a raw query, "" if there is none. It returns what
// [url.Values.Get] would, without memory for the other parameters, of which there may be thousands.
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
		return nil // as nearly all do
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

// tame reports whether a text has only printable ASCII without & and =.
func tame(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '&' || c == '=' {
			return false
		}
	}
	return true
}

// listName returns the name of the list to which an element name belongs, or else the name itself.
func listName(name string) string {
	base, index, ok := strings.Cut(name, "[")
	index, closed := strings.CutSuffix(index, "]")
	if !ok || !closed || base == "" || index != "" && !digits(index) {
		return name
	}
	return base
}
