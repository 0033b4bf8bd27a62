package configs

import (
	"fmt"
	"slices"
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
dots and underscores: ` + "`--nats-embedded-port`" + `; there are none for secrets. Lists are given there with commas, and ` + "`SLUICE_APPS`" + ` is
a list in JSON that takes the place of ` + "`apps`" + `. ` + "`RUST_LOG`" + ` is accepted and ignored. Every problem is reported at once, and an
unknown key is one.

**Blank is not set.** A blank environment variable or flag, and a key with nothing behind it in a file, leave the setting as
it was. A text that shall be empty is ` + "`\"\"`" + ` in the file.

**Texts are taken as they are written.** In YAML and JSON ` + "`id: 0042`" + ` is the text ` + "`0042`" + `, and so are other numbers, dates and
` + "`true`" + `; ` + "`null`" + ` and ` + "`~`" + ` need quotes to be texts, and in TOML everything does. Whole numbers are decimal at every door: ` + "`0x1F`, `0017`" + `
and ` + "`1_000`" + ` are refused, except in TOML, where they are numbers. Booleans are ` + "`true` and `false`" + ` (or ` + "`1` and `0`" + `); ` + "`yes`, `no`, `on` and `off`" + `
are refused.

**Variables in the file.** ` + "`${NAME}`" + ` in a value is replaced by the environment variable, which must be there and not be blank;
` + "`$$`" + ` is ` + "`$`" + `, and a ` + "`$`" + ` before anything else stands for itself. What comes in is a text or a number for the one value, whatever it has in
it: it adds no keys.

**Secrets** may lie in files of their own: each secret key has another one that ends in ` + "`_file`" + `, and a header of a webhook may be
` + "`{file: PATH}`" + `. One line break at the end of such a file does not count. The secret and its file exclude each other within one
source; a later source replaces both.

Variables that Kubernetes makes for services whose names begin with ` + "`sluice`" + ` (` + "`SLUICE_PORT=tcp://...`, `SLUICE_SERVICE_HOST`" + `) are ignored
with a line in the log. ` + "`SLUICE_URL`, `SLUICE_APP`, `SLUICE_KEY`, `SLUICE_SECRET` and `SLUICE_SECRET_FILE`" + ` are for the commands that
talk to a server.

**Changes while a server runs.** SIGHUP, and ` + "`config.watch`" + ` by itself, have the file and the files with secrets read again. Everything in
` + "`apps`" + ` is then in force at once, and so are ` + listOf(func(name string) bool { return live[name] != nil }) + `. What is kept (` +
		listOf(func(name string) bool { return retentionKeys[name] }) + `, and the same for
single apps) follows on NATS and, for single apps, on Redis. Everything else needs a restart, and ` + "`/ready`" + ` lists it until then.
[operations.md](operations.md), "Changes without a restart", says more.

` + "`sluice config`" + ` prints what a server would start with, secrets redacted. Examples are in ` + "`configs/samples`" + `.
`)
	for _, section := range sections() {
		title := section
		if title == "" {
			title = "General"
		} else {
			title = "`" + title + "`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n| Key | Type | Default | Range | Meaning |\n| --- | --- | --- | --- | --- |\n", title)
		for i := range keys {
			if k := &keys[i]; k.section() == section && k.kind != tree {
				k.row(&b)
			}
		}
	}
	b.WriteString("\n## `apps`\n\nA list, in a file or as JSON in `SLUICE_APPS`. Each entry:\n\n| Key | Type | Default | Range | Meaning |\n| --- | --- | --- | --- | --- |\n")
	for i := range appKeys {
		appKeys[i].row(&b)
	}
	return b.String()
}

// listOf names the global keys that are of a kind.
func listOf(is func(name string) bool) string {
	var names []string
	for i := range keys {
		if is(keys[i].name) {
			names = append(names, "`"+keys[i].name+"`")
		}
	}
	return strings.Join(names, ", ")
}

// section is the part of the page where a key is, empty for those that are in none.
func (k *key) section() string {
	head, _, nested := strings.Cut(k.name, ".")
	if !nested {
		return ""
	}
	return head
}

// sections are all of them, each once, in the order of their first keys.
func sections() (out []string) {
	for i := range keys {
		if k := &keys[i]; k.kind != tree && !slices.Contains(out, k.section()) {
			out = append(out, k.section())
		}
	}
	return out
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

func (k kind) String() string {
	return [...]string{"boolean", "integer", "text", "choice", "duration", "list of texts", "secret", "URL", "structure", "path"}[k]
}
