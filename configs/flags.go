package configs

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// The annotations of the flags that [BindFlags] defines.
const (
	// FlagSection is the section of the configuration to which a flag belongs, "" for none.
	FlagSection = "sluice_section"
	// FlagWords are the values of a flag that has only a few.
	FlagWords = "sluice_words"
)

// BindFlags adds a flag for every key except structures and secrets: a command line is visible to others.
func BindFlags(fs *pflag.FlagSet) {
	for i := range keys {
		k := &keys[i]
		if k.kind == tree || k.kind == secret || k.kind == address {
			continue
		}
		// pflag uses the first text in backticks as the name of the value.
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

// defaultText returns the default as the value of a flag, empty for none.
func (k *key) defaultText() string {
	switch def := k.def.(type) {
	case nil, bool:
		// false is the natural default of a switch, so only true is shown.
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

// given is the text of a flag. It is parsed with all others, so that all problems are reported at once.
type given struct {
	text string
	kind kind
}

func (g *given) String() string        { return g.text }
func (g *given) Set(text string) error { g.text = text; return nil }

// Type returns the name of the value in the help.
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
