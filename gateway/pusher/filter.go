package pusher

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Limits of a filter (protocol section 4.4).
const (
	maxFilterNodes  = 128
	maxFilterDepth  = 16
	maxFilterKey    = 256
	maxFilterValue  = 1024
	maxFilterValues = 128
	maxFilterEvents = 50
	maxFilterEvent  = 200
	// maxFilterText bounds the text of a filter, in bytes.
	maxFilterText = 16 << 10
)

// Filter decides by name and tags which events of a channel a subscription gets (protocol section 4). It is
// immutable and safe for concurrent use.
type Filter struct {
	text   string
	size   int
	events []string
	root   *filterNode
}

// filterNode is an inner node or a leaf.
type filterNode struct {
	op       string // and, or, not; or the comparison of a leaf
	children []*filterNode
	key      string
	values   []string
	number   float64
	isNumber bool
}

// ParseFilter parses the filter of a subscription: a node or a compound object. "" means no filter. Errors name
// the violated rule.
func ParseFilter(raw string) (*Filter, error) {
	if raw == "" {
		return nil, nil
	}
	if len(raw) > maxFilterText {
		return nil, fmt.Errorf("filter has %d bytes, the limit is %d", len(raw), maxFilterText)
	}
	// The parts of the filter are slices of this copy, so that they do not keep the message in memory.
	f := &Filter{text: strings.Clone(raw)}
	v := gjson.Parse(f.text)
	// A filter in a frame was validated with it, but one in a query may be truncated.
	if !v.IsObject() || !gjson.Valid(f.text) {
		return nil, errors.New("filter is not a JSON object")
	}
	if err := f.parse(v); err != nil {
		return nil, err
	}
	return f, nil
}

// parse builds the filter from its parsed text, and computes its size.
func (f *Filter) parse(v gjson.Result) error {
	p := filterParser{}
	defer func() { f.size = len(f.text) + p.nodes*nodeSize + (p.values+len(f.events))*valueSize + filterSize }()
	events, tags, expression := v.Get("events"), v.Get("tags"), v.Get("expression")
	if !events.Exists() && !tags.Exists() && !expression.Exists() {
		var err error
		f.root, err = p.node(v, 1)
		return err
	}
	if expression.Exists() && expression.Type != gjson.Null {
		return errors.New("filter.expression is not offered by this server")
	}
	if events.Exists() && events.Type != gjson.Null {
		if !events.IsArray() {
			return errors.New("filter.events is not a list")
		}
		if err := f.parseEvents(events); err != nil {
			return err
		}
	}
	if tags.Exists() && tags.Type != gjson.Null {
		var err error
		if f.root, err = p.node(tags, 1); err != nil {
			return err
		}
	}
	return nil
}

func (f *Filter) parseEvents(events gjson.Result) (err error) {
	n := 0
	events.ForEach(func(_, e gjson.Result) bool {
		if e.Type != gjson.String || e.Str == "" || len(e.Str) > maxFilterEvent {
			err = fmt.Errorf("filter.events: a name has 1 to %d bytes", maxFilterEvent)
			return false
		}
		if n++; n <= maxFilterEvents {
			f.events = append(f.events, e.Str)
		}
		return true
	})
	if err == nil && n > maxFilterEvents {
		err = fmt.Errorf("filter.events has %d names, the limit is %d", n, maxFilterEvents)
	}
	return err
}

// Text returns the text of the filter. Filters with the same text decide alike.
func (f *Filter) Text() string { return f.text }

// Size estimates the memory of the filter in bytes.
func (f *Filter) Size() int { return f.size }

// The memory of the parts of a filter in addition to its text, in bytes. Unescaped values are copies, which are
// shorter than the text.
const (
	filterSize = 256
	nodeSize   = 128
	valueSize  = 16
)

// Matches reports whether an event passes. tags may be nil.
func (f *Filter) Matches(event string, tags map[string]string) bool {
	if len(f.events) > 0 && !slices.Contains(f.events, event) {
		return false
	}
	return f.root == nil || f.root.matches(tags)
}

// filterParser counts the nodes and values of one filter.
type filterParser struct{ nodes, values int }

func (p *filterParser) node(v gjson.Result, depth int) (*filterNode, error) {
	if p.nodes++; p.nodes > maxFilterNodes {
		return nil, fmt.Errorf("filter has more than %d nodes", maxFilterNodes)
	}
	if depth > maxFilterDepth {
		return nil, fmt.Errorf("filter is nested deeper than %d levels", maxFilterDepth)
	}
	if !v.IsObject() {
		return nil, errors.New("filter: a node is not an object")
	}
	op := v.Get("op")
	if !op.Exists() {
		n, err := leaf(v)
		if n != nil {
			p.values += len(n.values)
		}
		return n, err
	}
	n := &filterNode{op: op.Str}
	nodes := v.Get("nodes")
	children, count := elements(nodes, maxFilterNodes) // one of the nodes is this one
	switch {
	case op.Type != gjson.String || op.Str != "and" && op.Str != "or" && op.Str != "not":
		return nil, fmt.Errorf("filter: op is %.40s, must be and, or, not", op.Raw)
	case !nodes.IsArray() || count == 0:
		return nil, fmt.Errorf("filter: %s without nodes", n.op)
	case n.op == "not" && count != 1:
		return nil, fmt.Errorf("filter: not has %d nodes, must have one", count)
	}
	n.children = make([]*filterNode, 0, len(children))
	for _, c := range children {
		child, err := p.node(c, depth+1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	return n, nil
}

func leaf(v gjson.Result) (*filterNode, error) {
	key, cmp := v.Get("key"), v.Get("cmp")
	if key.Type != gjson.String || key.Str == "" || len(key.Str) > maxFilterKey {
		return nil, fmt.Errorf("filter: key must have 1 to %d bytes", maxFilterKey)
	}
	n := &filterNode{op: cmp.Str, key: key.Str}
	switch n.op {
	case "ex", "nex":
		return n, nil
	case "in", "nin":
		vals := v.Get("vals")
		list, count := elements(vals, maxFilterValues)
		if !vals.IsArray() || count == 0 || count > maxFilterValues {
			return nil, fmt.Errorf("filter: vals of %s must have 1 to %d values", n.op, maxFilterValues)
		}
		n.values = make([]string, 0, len(list))
		for _, x := range list {
			value, err := filterValue(x)
			if err != nil {
				return nil, err
			}
			n.values = append(n.values, value)
		}
		return n, nil
	case "eq", "neq", "sw", "ew", "ct", "gt", "gte", "lt", "lte":
		value, err := filterValue(v.Get("val"))
		if err != nil {
			return nil, err
		}
		if value == "" {
			return nil, fmt.Errorf("filter: val of %s is missing or empty", n.op)
		}
		n.values = []string{value}
		n.number, n.isNumber = decimal(value)
		return n, nil
	}
	return nil, fmt.Errorf("filter: cmp is %.40s, must be one of eq neq in nin ex nex sw ew ct gt gte lt lte", orMissing(cmp))
}

func orMissing(v gjson.Result) string {
	if !v.Exists() {
		return "missing"
	}
	return v.Raw
}

// filterValue returns a value as text; a number as it is written.
func filterValue(v gjson.Result) (string, error) {
	var s string
	switch v.Type {
	case gjson.String:
		s = v.Str
	case gjson.Number, gjson.True, gjson.False:
		s = v.Raw
	case gjson.Null:
		if v.Exists() {
			return "", errors.New("filter: a value is null")
		}
	default:
		return "", errors.New("filter: a value must be a string, number or boolean")
	}
	if len(s) > maxFilterValue {
		return "", fmt.Errorf("filter: a value has %d bytes, the limit is %d", len(s), maxFilterValue)
	}
	return s, nil
}

// decimal parses a decimal floating-point number. It refuses hexadecimal numbers and infinities.
func decimal(s string) (float64, bool) {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func (n *filterNode) matches(tags map[string]string) bool {
	switch n.op {
	case "and":
		return !slices.ContainsFunc(n.children, func(c *filterNode) bool { return !c.matches(tags) })
	case "or":
		return slices.ContainsFunc(n.children, func(c *filterNode) bool { return c.matches(tags) })
	case "not":
		return !n.children[0].matches(tags)
	}
	tag, ok := tags[n.key]
	switch n.op {
	case "ex":
		return ok
	case "nex":
		return !ok
	case "eq", "in":
		return ok && slices.Contains(n.values, tag)
	case "neq", "nin":
		return !ok || !slices.Contains(n.values, tag)
	case "sw":
		return ok && strings.HasPrefix(tag, n.values[0])
	case "ew":
		return ok && strings.HasSuffix(tag, n.values[0])
	case "ct":
		return ok && strings.Contains(tag, n.values[0])
	}
	have, isNumber := decimal(tag)
	if !ok || !isNumber || !n.isNumber {
		return false
	}
	switch n.op {
	case "gt":
		return have > n.number
	case "gte":
		return have >= n.number
	case "lt":
		return have < n.number
	}
	return have <= n.number
}
