package configs

import (
	"fmt"
	"strings"
)

// variables returns the environment by name. Blank variables count as not set, as everywhere.
func variables(environ []string) map[string]string {
	out := map[string]string{}
	for _, variable := range environ {
		if name, v, _ := strings.Cut(variable, "="); strings.TrimSpace(v) != "" {
			out[name] = v
		}
	}
	return out
}

// expand replaces variables in the values of a file, not in the names of keys. The replacement is plain text and
// adds no keys, whatever it contains. A value with an unknown variable is left unchanged and reported.
func expand(path string, v any, environ map[string]string, p *problems) any {
	switch x := v.(type) {
	case map[string]any:
		for _, name := range sorted(x) {
			at := name
			if path != "" {
				at = path + "." + name
			}
			x[name] = expand(at, x[name], environ, p)
		}
	case []any:
		for i := range x {
			at := fmt.Sprintf("%s[%d]", path, i)
			x[i] = expand(at, x[i], environ, p)
			if p.unread[at] {
				p.unread[path] = true
				p.fail(path)
			}
		}
	case string:
		text, err := expandText(x, environ)
		if err != nil {
			p.at(path, "%s %v", path, err)
			p.unread[path] = true
			return x
		}
		return text
	}
	return v
}

// expandText replaces ${NAME} by a variable and $$ by $. A $ before anything else is kept.
func expandText(text string, environ map[string]string) (string, error) {
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(text, "$")
		b.WriteString(head)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			name, after, closed := strings.Cut(rest[1:], "}")
			if !closed || !variableName(name) {
				return "", fmt.Errorf("has ${ without the name of a variable and }; a ${ that is meant as it is must be written $${")
			}
			v, ok := environ[name]
			if !ok {
				return "", fmt.Errorf("has ${%s}, but the environment variable %s is not set or blank", shorten(name), shorten(name))
			}
			b.WriteString(v)
			text = after
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}

func variableName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// unexpanded escapes a text so that expandText returns the original.
func unexpanded(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if text[i] == '$' && i+1 < len(text) && (text[i+1] == '$' || text[i+1] == '{') {
			b.WriteByte('$')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// unexpandedTree escapes all texts of a tree in place.
func unexpandedTree(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for name := range x {
			x[name] = unexpandedTree(x[name])
		}
	case []any:
		for i := range x {
			x[i] = unexpandedTree(x[i])
		}
	case []string:
		out := make([]any, len(x))
		for i := range x {
			out[i] = unexpanded(x[i])
		}
		return out
	case string:
		return unexpanded(x)
	}
	return v
}
