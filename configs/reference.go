package configs

import (
	"fmt"
	"strings"
)

// Reference is the text of docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

This page is generated from the table that the loader uses (` + "`go test ./configs -update`" + `).

A value comes from the defaults, then the file given with ` + "`--config`" + ` (` + "`.json`, `.jsonc`" + ` with comments, ` + "`.yaml`, `.toml`" + `),
then the environment, then flags; later ones win. The environment variable of a key is its name in capitals with
` + "`SLUICE_`" + ` in front and ` + "`_`" + ` for every dot: ` + "`nats.embedded.port`" + ` is ` + "`SLUICE_NATS_EMBEDDED_PORT`" + `. The flag of a key has ` + "`-`" + ` for
dots and underscores: ` + "`--nats-embedded-port`" + `; there are none for secrets. Lists are given there with commas. ` + "`RUST_LOG`" + ` is
accepted and ignored. Every problem is reported at once, and an unknown key is one.

` + "`sluice config`" + ` prints what is in force, secrets redacted. Examples are in ` + "`configs/samples`" + `.
`)
	section := ""
	for i := range keys {
		k := &keys[i]
		head, _, nested := strings.Cut(k.name, ".")
		if !nested {
			head = "General"
			if k.kind == tree {
				continue
			}
		}
		if head != section {
			section = head
			title := head
			if nested {
				title = "`" + head + "`"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| Key | Type | Default | Range | Meaning |\n| --- | --- | --- | --- | --- |\n", title)
		}
		k.row(&b)
	}
	b.WriteString("\n## `apps`\n\nA list; in a file only. Each entry:\n\n| Key | Type | Default | Range | Meaning |\n| --- | --- | --- | --- | --- |\n")
	for i := range appKeys {
		appKeys[i].row(&b)
	}
	return b.String()
}

func (k *key) row(b *strings.Builder) {
	def := fmt.Sprint(k.def)
	switch {
	case k.def == nil, def == "", def == "[]":
		def = "-"
	default:
		def = "`" + def + "`"
	}
	bounds := "-"
	switch k.kind {
	case integer:
		bounds = k.bounds()
	case duration:
		bounds = k.bounds() + " s"
	case choice:
		bounds = "`" + strings.Join(k.choices, "`, `") + "`"
	}
	unit := k.kind.String()
	if k.unit != "" {
		unit += ", " + k.unit
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", k.name, unit, def, bounds, k.text)
}
