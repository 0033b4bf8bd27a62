package gateway

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Settings are the settings that all gateways of a cluster should have alike, by key. A value that begins
// with `digest:` stands for a secret one. `apps[ID]` stands for a whole app, and `apps[ID].KEY` are its
// settings. Settings must not be changed once made.
type Settings map[string]string

const (
	digested = "digest:"
	// maxShown is the maximum size of a record in bytes, and maxSettings that of its decompressed content.
	maxShown, maxSettings = 60 << 10, 16 << 20
)

// shownSettings is a record in the table: a label for operators, and the settings.
type shownSettings struct {
	label    string
	settings Settings
}

// encode writes the record. If it is too large, the settings of single apps are left out, and then the apps
// as well.
func (s shownSettings) encode() ([]byte, error) {
	for _, keep := range []func(key string) bool{
		func(string) bool { return true },
		func(key string) bool { return !strings.HasPrefix(key, "apps[") || strings.HasSuffix(key, "]") },
		func(key string) bool { return !strings.HasPrefix(key, "apps[") },
	} {
		part := maps.Clone(s.settings)
		maps.DeleteFunc(part, func(key, _ string) bool { return !keep(key) })
		text, err := json.Marshal(part)
		if err != nil {
			return nil, err
		}
		out := bytes.NewBufferString(s.label + "\n")
		w := gzip.NewWriter(out)
		// Compression ends early if the result is too large.
		for piece := range slices.Chunk(text, 32<<10) {
			if _, _ = w.Write(piece); out.Len() > maxShown {
				break
			}
		}
		_ = w.Close()
		if out.Len() <= maxShown {
			return out.Bytes(), nil
		}
	}
	return nil, errors.New("the settings are too large to be shown to other gateways")
}

// decodeSettings reads a record.
func decodeSettings(b []byte) (s shownSettings, err error) {
	label, packed, _ := bytes.Cut(b, []byte("\n"))
	// The version of the gateway may follow its label.
	s.label, _, _ = strings.Cut(string(label), " ")
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return s, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxSettings))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s.settings)
}

// absent is the value of a missing key.
const absent = "\x00"

// disagreement is one key that differs between gateways. labels are the gateways that have each value.
type disagreement struct {
	key    string
	labels map[string][]string
}

// disagreements compares the settings of this gateway with those of others. A key that only one of two
// gateways has belongs to another release and does not count, except for apps.
func disagreements(own shownSettings, others []shownSettings) []disagreement {
	found := map[string]*disagreement{}
	note := func(key, value string, other shownSettings) {
		d := found[key]
		if d == nil {
			d = &disagreement{key, map[string][]string{}}
			found[key] = d
		}
		d.labels[value] = append(d.labels[value], other.label)
	}
	for _, other := range others {
		detailed := map[string]bool{}
		for _, key := range differing(own.settings, other.settings) {
			if app, _, inner := strings.Cut(key, "]."); inner {
				detailed[app+"]"] = true
			}
		}
		for _, key := range differing(own.settings, other.settings) {
			value, there := other.settings[key]
			if !there {
				value = absent
			}
			// If an app differs, its single settings are reported where they are known.
			if !detailed[key] {
				note(key, value, other)
			}
		}
	}
	out := make([]disagreement, 0, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, *found[key])
	}
	return out
}

// differing returns the keys whose values differ between two gateways.
func differing(a, b Settings) []string {
	var out []string
	hasApps := func(s Settings) bool {
		for key := range s {
			if strings.HasPrefix(key, "apps[") {
				return true
			}
		}
		return false
	}
	for key, value := range a {
		if other, there := b[key]; there && other != value {
			out = append(out, key)
		}
	}
	if !hasApps(a) || !hasApps(b) {
		return out
	}
	for _, pair := range [][2]Settings{{a, b}, {b, a}} {
		for key := range pair[0] {
			if _, there := pair[1][key]; !there && strings.HasPrefix(key, "apps[") && strings.HasSuffix(key, "]") {
				out = append(out, key)
			}
		}
	}
	return out
}

// maxLabels bounds the gateways that are named for one value.
const maxLabels = 4

func named(labels []string) string {
	slices.Sort(labels)
	if more := len(labels) - maxLabels; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(labels[:maxLabels], ", "), more)
	}
	return strings.Join(labels, ", ")
}

// text describes the difference from the view of this gateway.
func (d *disagreement) text(own shownSettings) string {
	mine, there := own.settings[d.key]
	if !there {
		mine = absent
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s on this gateway (%s)", d.key, is(mine), own.label)
	for _, value := range slices.SortedFunc(maps.Keys(d.labels), cmp.Compare) {
		what := is(value)
		if strings.HasPrefix(value, digested) && there {
			what = "differs"
		}
		fmt.Fprintf(&b, " and %s on %s", what, named(d.labels[value]))
	}
	return b.String()
}

func is(value string) string {
	switch {
	case value == absent:
		return "is missing"
	case strings.HasPrefix(value, digested):
		return "is set"
	case value == "":
		return `is ""`
	}
	return fmt.Sprintf("is %.100s", value)
}
