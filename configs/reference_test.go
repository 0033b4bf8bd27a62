package configs

import (
	"fmt"
	"slices"
	"strings"
)

// Reference returns the text of docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

This page is generated from the table that the loader uses (` + "`go test ./configs -update`" + `).

A value comes from these sources, where later ones win: the defaults, then the file given with ` + "`--config`" + ` (` + "`.json`, `.jsonc`" + ` with comments, ` + "`.yaml`, `.toml`" + `),
then the environment, then flags. The environment variable of a key is its name in capitals with
` + "`SLUICE_`" + ` in front and ` + "`_`" + ` for every dot: ` + "`nats.embedded.port`" + ` is ` + "`SLUICE_NATS_EMBEDDED_PORT`" + `. The flag of a key has ` + "`-`" + ` for
dots and underscores: ` + "`--nats-embedded-port`" + `; there are none for secrets and for ` + "`redis_url`" + `, which may have a password. Both take lists separated by commas, and ` + "`SLUICE_APPS`" + ` is
a JSON list that replaces ` + "`apps`" + `. ` + "`RUST_LOG`" + ` is accepted and ignored. All problems are reported at once. An
unknown key is an error.

**Blank is not set.** A blank environment variable or flag, and a key without a value in a file, do not change the setting.
To set an empty text, write ` + "`\"\"`" + ` in the file. A blank ` + "`--config`" + ` is refused, and so are other blank flags that
are not settings: leave them out.

**Texts are used as written.** In YAML and JSON ` + "`id: 0042`" + ` is the text ` + "`0042`" + `, and so are other numbers, dates and
` + "`true`" + `; ` + "`null`" + ` and ` + "`~`" + ` need quotes to be texts, and in TOML all texts do. Whole numbers are decimal: ` + "`0x1F`, `0017`" + `
and ` + "`1_000`" + ` are refused, except in TOML, where they are numbers. Booleans are ` + "`true` and `false`" + ` (or ` + "`1` and `0`" + `); ` + "`yes`, `no`, `on` and `off`" + `
are refused.

**Variables in the file.** ` + "`${NAME}`" + ` in a value is replaced by the environment variable, which must exist and not be blank;
` + "`$$`" + ` is ` + "`$`" + `, and a ` + "`$`" + ` before anything else stands for itself. The content of the variable is always a single text or number: it
cannot add keys.

**Secrets** may be in files of their own: for each secret key there is another key that ends in ` + "`_file`" + `, and a header of a webhook may be
` + "`{file: PATH}`" + `. One line break at the end of such a file is ignored. Within one source you can set the secret or its
file, not both; a later source replaces either.

Variables that Kubernetes creates for services whose names begin with ` + "`sluice`" + ` (` + "`SLUICE_PORT=tcp://...`, `SLUICE_SERVICE_HOST`" + `) are ignored
with a line in the log. ` + "`SLUICE_URL`, `SLUICE_APP`, `SLUICE_KEY`, `SLUICE_SECRET` and `SLUICE_SECRET_FILE`" + ` are for the commands that
talk to a server.

**Changes while a server runs.** At SIGHUP, or when ` + "`config.watch`" + ` detects a change, the server reads the file and the files with secrets again. Everything in
` + "`apps`" + ` is then in force at once, and so are ` + listOf(func(name string) bool { return live[name] != nil }) + `. Retention (` +
		listOf(func(name string) bool { return retentionKeys[name] }) + `, and the same for
single apps) is adapted on NATS and, for single apps, on Redis. Everything else needs a restart, and ` + "`/ready`" + ` lists it until then. See
[operations.md](operations.md), "Changes without a restart".

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

// listOf returns the names of the global keys for which is reports true.
func listOf(is func(name string) bool) string {
	var names []string
	for i := range keys {
		if is(keys[i].name) {
			names = append(names, "`"+keys[i].name+"`")
		}
	}
	return strings.Join(names, ", ")
}

// section returns the part of the page with the key, empty for keys without a section.
func (k *key) section() string {
	head, _, nested := strings.Cut(k.name, ".")
	if !nested {
		return ""
	}
	return head
}

// sections returns all sections, each once, in the order of their first keys.
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
