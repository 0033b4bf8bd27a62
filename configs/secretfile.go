package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxSecretFile bounds a file with a secret in bytes.
const maxSecretFile = 64 << 10

// withFiles adds to a table, after each secret, the key for a file that holds it.
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

// secretOf returns the name of the secret for which a key names the file, or "".
func (k *key) secretOf() string {
	if k.kind != file {
		return ""
	}
	return strings.TrimSuffix(k.name, "_file")
}

// ReadSecret reads a secret from a file of its own, up to 64 KiB of UTF-8. It removes one line break at the end,
// and a byte order mark. The error does not contain the content.
func ReadSecret(path string) (Secret, error) {
	content, err := readFile(path, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("%q %w", shorten(path), err)
	}
	text := strings.TrimPrefix(string(content), "\ufeff")
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case strings.TrimSpace(text) == "":
		return "", fmt.Errorf("%q is empty", shorten(path))
	case text == redacted:
		return "", fmt.Errorf("%q holds %s, which stands for a secret that was not printed", shorten(path), redacted)
	case !utf8.ValidString(text):
		return "", fmt.Errorf("%q is not UTF-8", shorten(path))
	}
	return Secret(text), nil
}

// readFile reads a regular file, also through a symbolic link. Other files, such as named pipes, could block
// forever; they are opened without blocking and refused.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unwrapped(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, unwrapped(err)
	case info.IsDir():
		return nil, errors.New("is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no regular file")
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, unwrapped(err)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("is larger than %d bytes", limit)
	}
	return content, nil
}

func unwrapped(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// readSecrets replaces the file keys of one source by the secrets in the files. where is the prefix of names in
// messages.
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
