package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// maxSecretFile bounds a file with a secret.
const maxSecretFile = 64 << 10

// withFiles adds to a table, behind each secret, the key for a file that holds it.
func withFiles(table []key) []key {
	var out []key
	for _, k := range table {
		out = append(out, k)
		if k.kind == secret || k.kind == address {
			out = append(out, key{
				name: k.name + "_file", kind: file, def: "",
				text: "File that holds `" + k.name + "`, in the place of it. A line break at its end does not count.",
			})
		}
	}
	return out
}

// secretOf is the name of the secret that a key of files stands for, or "".
func (k *key) secretOf() string {
	if k.kind != file {
		return ""
	}
	return strings.TrimSuffix(k.name, "_file")
}

// ReadSecret reads a secret from a file of its own, up to 64 KiB of UTF-8. One line break
// at its end does not count. The error does not show the content.
func ReadSecret(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unwrapped(path, err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", unwrapped(path, err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	switch {
	case len(content) > maxSecretFile:
		return "", fmt.Errorf("%q is larger than %d bytes", shorten(path), maxSecretFile)
	case strings.TrimSpace(text) == "":
		return "", fmt.Errorf("%q is empty", shorten(path))
	case !utf8.ValidString(text):
		return "", fmt.Errorf("%q is not UTF-8", shorten(path))
	}
	return Secret(text), nil
}

func unwrapped(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("%q cannot be read: %w", shorten(path), err)
}

// readSecrets puts what the files of one source hold in the place of the secrets. where
// precedes the names in messages.
func readSecrets(where string, table []key, values map[string]any, p *problems) {
	for i := range table {
		name := table[i].secretOf()
		path, _ := values[table[i].name].(string)
		if name == "" || path == "" {
			continue
		}
		if given, _ := values[name].(string); given != "" {
			p.add("%s%s and %s%s are given, must be one of them", where, name, where, table[i].name)
			p.fail(where + name)
			continue
		}
		text, err := ReadSecret(path)
		if err != nil {
			p.at(where+table[i].name, "%s%s: %v", where, table[i].name, err)
			p.fail(where + name)
			continue
		}
		values[name] = text.Reveal()
	}
}
