package configs

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Annotations of the flags that [BindFlags] defines.
const (
	// FlagSection is the section of the configuration that a flag belongs to, "" for
	// those of none.
	FlagSection = "sluice_section"
	// FlagWords are the values that a flag can have, if these are few.
	FlagWords = "sluice_words"
)

// BindFlags adds a flag for every key that can be given on a command line. Secrets
// cannot: a command line is visible to others.
func BindFlags(fs *pflag.FlagSet) {
	for i := range keys {
		k := &keys[i]
		if k.kind == tree || k.kind == secret || k.kind == address {
			continue
		}
		// pflag takes the first text in backticks for the name of the value.
		help := strings.ReplaceAll(k.text, "`", "")
		if def := k.defaultText(); def != "" {
			help += " (default " + def + ")"
		}
		f := fs.VarPF(&given{kind: k.kind}, k.flag(), "", help)
		section, _, nested := strings.Cut(k.name, ".")
		if !nested {
			section = ""
		}
		f.Annotations = map[string][]string{FlagSection: {section}}
		if len(k.choices) > 0 {
			f.Annotations[FlagWords] = k.choices
		}
		if k.kind == boolean {
			f.NoOptDefVal = "true"
			f.Annotations[FlagWords] = []string{"true", "false"}
		}
	}
}

// defaultText is the default as a flag would be given it, empty if there is none.
func (k *key) defaultText() string {
	switch def := k.def.(type) {
	case nil, bool:
		// A switch that is off needs no word; one that is on says so.
		if def == true {
			return "true"
		}
		return ""
	case []string:
		return strings.Join(def, ",")
	case int64:
		if k.unit != "" {
			return fmt.Sprint(def, " ", k.unit)
		}
	}
	return fmt.Sprint(k.def)
}

// given is the text of a flag. It is read with all others, so that every problem is told
// at once.
type given struct {
	text string
	kind kind
}

func (g *given) String() string        { return g.text }
func (g *given) Set(text string) error { g.text = text; return nil }

// Type is what the help calls the value.
func (g *given) Type() string {
	switch g.kind {
	case boolean:
		return "bool"
	case integer:
		return "int"
	case duration:
		return "duration"
	case texts:
		return "list"
	case file:
		return "path"
	}
	return "text"
}
