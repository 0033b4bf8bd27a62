// Package shape compares the whole configuration of a JetStream stream with what it must
// be. Every field has a rule, so that a setting which nobody has thought of cannot stand
// between an acknowledgement and the log. It is pure.
package shape

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Rule says what becomes of a setting that is not as it must be.
type Rule uint8

const (
	// Free settings are the operator's.
	Free Rule = iota
	// Mended settings are put back whenever they differ, which loses nothing.
	Mended
	// Least settings are raised when they are below, and may be above.
	Least
	// Limit settings follow the configuration of whoever set them last; they are put in
	// force when a caller adapts a stream, and told otherwise.
	Limit
	// Lasting settings cannot be taken back. The stream can be used all the same.
	Lasting
	// Fatal settings cannot be taken back, and the stream cannot be used with them.
	Fatal
	// Turning settings can be turned on and not off: Mended if they must be on, Lasting
	// if they must be off.
	Turning
	// Keeping is the rule of metadata: what is missing is put back, the rest is free.
	Keeping
)

// rules has a rule for each field of a configuration, by its name in Go.
var rules = map[string]Rule{
	"Name": Free, "Description": Free, "Placement": Free, "Compression": Free, "FirstSeq": Free, "Template": Free,
	// Without a mirror it means nothing.
	"MirrorDirect": Free,

	"Subjects": Mended, "Discard": Mended, "DiscardNewPerSubject": Mended, "MaxMsgs": Mended, "MaxConsumers": Mended,
	"NoAck": Mended, "Sources": Mended, "DenyDelete": Mended, "AllowRollup": Mended, "SubjectTransform": Mended,
	"RePublish": Mended, "AllowDirect": Mended, "ConsumerLimits": Mended, "SubjectDeleteMarkerTTL": Mended,
	"AllowAtomicPublish": Mended, "AllowBatchPublish": Mended, "Retention": Mended,

	"MaxMsgSize": Least, "Duplicates": Least,

	"MaxMsgsPerSubject": Limit, "MaxAge": Limit, "MaxBytes": Limit, "Replicas": Limit,

	"AllowMsgTTL": Turning, "DenyPurge": Turning,
	"AllowMsgSchedules": Lasting, "PersistMode": Lasting,

	"Storage": Fatal, "Mirror": Fatal, "Sealed": Fatal, "AllowMsgCounter": Fatal,

	"Metadata": Keeping,
}

// Difference is a setting that is not as it must be.
type Difference struct {
	// Setting is its name in NATS, such as no_ack.
	Setting    string
	Have, Want string
}

func (d Difference) String() string {
	if d.Want == "" {
		return fmt.Sprintf("%s is %s", d.Setting, d.Have)
	}
	return fmt.Sprintf("%s is %s, must be %s", d.Setting, d.Have, d.Want)
}

// List writes differences one after the other.
func List(all []Difference) string {
	texts := make([]string, len(all))
	for i, d := range all {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}

// Report is what a comparison found.
type Report struct {
	// Config is what the stream is to be updated to, if anything is Changed.
	Config  jetstream.StreamConfig
	Changed []Difference
	// Limits differ and are left as they are.
	Limits []Difference
	// Lasting and Fatal settings cannot be changed any more.
	Lasting, Fatal []Difference
}

// Options change rules of fields, by their names in Go.
type Options map[string]Rule

// Compare compares a configuration with what it must be. adapt says whether limits are put
// in force as well.
func Compare(have, want jetstream.StreamConfig, change Options, adapt bool) Report {
	r := Report{Config: have}
	to, wanted := reflect.ValueOf(&r.Config).Elem(), reflect.ValueOf(want)
	for i := range to.NumField() {
		f := to.Type().Field(i)
		h, w := to.Field(i), wanted.Field(i)
		rule, changed := change[f.Name]
		if !changed {
			rule = rules[f.Name]
		}
		if f.Name == "Metadata" || rule == Free || equal(h, w) {
			continue
		}
		d := Difference{setting(f), show(h), show(w)}
		switch rule = rule.of(f.Name, h, w); {
		case rule == Lasting, f.Name == "AllowRollup" && have.AllowMsgSchedules, f.Name == "AllowAtomicPublish" && have.PersistMode == jetstream.AsyncPersistMode:
			// The server allows roll-ups with schedules, again and again, and never takes
			// batches as a whole where it does not wait for its disk.
			r.Lasting = append(r.Lasting, d)
		case rule == Fatal:
			r.Fatal = append(r.Fatal, d)
		case rule == Limit && !adapt:
			r.Limits = append(r.Limits, d)
		case rule != Free && f.Name != "Duplicates":
			r.Changed = append(r.Changed, d)
			h.Set(w)
		}
	}
	r.window(have, want)
	if r.Config.DenyPurge && r.Config.AllowRollup && !have.AllowRollup {
		// The server does not take both.
		r.Config.AllowRollup = false
		r.Changed = slices.DeleteFunc(r.Changed, func(d Difference) bool { return d.Setting == "allow_rollup_hdrs" })
	}
	r.metadata(want)
	return r
}

// of is the rule for a setting with the values that it has and must have.
func (rule Rule) of(field string, have, want reflect.Value) Rule {
	switch {
	case rule == Turning && want.Bool():
		return Mended
	case rule == Turning:
		return Lasting
	case rule == Least && above(have.Int(), want.Int()):
		return Free
	case field == "Retention":
		work := int64(jetstream.WorkQueuePolicy)
		if have.Int() == work || want.Int() == work {
			return Fatal
		}
	}
	return rule
}

// above says whether a limit is above another one; 0 and less is none.
func above(a, b int64) bool { return a <= 0 || b > 0 && a >= b }

// window raises the window of ids, as far as the age that events reach allows.
func (r *Report) window(have, want jetstream.StreamConfig) {
	least := want.Duplicates
	if age := r.Config.MaxAge; age > 0 {
		least = min(least, age)
		r.Config.Duplicates = min(r.Config.Duplicates, age)
	}
	r.Config.Duplicates = max(r.Config.Duplicates, least)
	if r.Config.Duplicates != have.Duplicates {
		r.Changed = append(r.Changed, Difference{"duplicate_window", have.Duplicates.String(), r.Config.Duplicates.String()})
	}
}

// metadata puts back what is missing.
func (r *Report) metadata(want jetstream.StreamConfig) {
	whole := map[string]string{}
	for k, v := range r.Config.Metadata {
		whole[k] = v
	}
	for k, v := range want.Metadata {
		if whole[k] == "" {
			whole[k] = v
			r.Changed = append(r.Changed, Difference{"metadata " + k, "missing", v})
		}
	}
	r.Config.Metadata = whole
}

// equal compares two settings. No limit has several forms.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		return a.Int() == b.Int() || a.Int() <= 0 && b.Int() <= 0
	case reflect.Slice:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// setting is the name of a field in NATS.
func setting(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key
}

func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "unset"
		}
		return fmt.Sprintf("%+v", v.Elem().Interface())
	case reflect.Slice:
		if v.Len() == 0 {
			return "unset"
		}
		if text, ok := v.Interface().([]string); ok {
			return strings.Join(text, " ")
		}
		return fmt.Sprintf("%d of them", v.Len())
	}
	return fmt.Sprint(v.Interface())
}
