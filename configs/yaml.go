package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// quoted matches the parts of the library's messages that repeat the file, which may contain a secret.
var quoted = regexp.MustCompile("`[^`]*`|'[^']*' referenced")

func yamlError(err error) error {
	return errors.New(quoted.ReplaceAllString(err.Error(), "..."))
}

// parseYAML parses one document by its nodes, which keep the notation of scalars.
func parseYAML(content []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := dec.Decode(&next); err == nil && !blankDocument(&next) {
		return nil, errors.New("has more than one document")
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlError(err)
	}
	// The library detects repeated names, and anchors that contain themselves or multiply.
	var checked any
	if err := doc.Decode(&checked); err != nil {
		return nil, yamlError(err)
	}
	v, err := yamlTree(&doc)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, errors.New("must be a mapping of keys")
	}
	return m, nil
}

func blankDocument(n *yaml.Node) bool {
	return len(n.Content) == 0 || len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && n.Content[0].Value == ""
}

func yamlTree(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return yamlTree(n.Content[0])
	case yaml.AliasNode:
		return yamlTree(n.Alias)
	case yaml.ScalarNode:
		return yamlScalar(n)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, inner := range n.Content {
			var err error
			if list[i], err = yamlTree(inner); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.MappingNode:
		return yamlMapping(n)
	}
	return nil, fmt.Errorf("line %d: cannot be read", n.Line)
}

func yamlScalar(n *yaml.Node) (any, error) {
	tag := n.ShortTag()
	if n.Style&yaml.TaggedStyle != 0 {
		switch tag {
		case "!!str", "!!int", "!!float", "!!bool":
			return n.Value, nil
		}
		return nil, fmt.Errorf("line %d: a value begins with a tag; a text that begins with ! needs quotes", n.Line)
	}
	const inQuotes = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if tag != "!!null" || n.Style&inQuotes != 0 {
		return n.Value, nil
	}
	if n.Value == "" {
		return nil, nil
	}
	return word(n.Value), nil
}

func yamlMapping(n *yaml.Node) (map[string]any, error) {
	m := map[string]any{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		for name.Kind == yaml.AliasNode {
			name = name.Alias
		}
		if name.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is not a text", name.Line)
		}
		if name.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if _, twice := m[name.Value]; twice {
			return nil, fmt.Errorf("line %d: the key %q is given twice", name.Line, shorten(name.Value))
		}
		v, err := yamlTree(value)
		if err != nil {
			return nil, err
		}
		m[name.Value] = v
	}
	for _, value := range merged {
		if err := mergeYAML(m, value); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// mergeYAML adds the keys of a merge key that are not there yet.
func mergeYAML(m map[string]any, value *yaml.Node) error {
	v, err := yamlTree(value)
	if err != nil {
		return err
	}
	all, isList := v.([]any)
	if !isList {
		all = []any{v}
	}
	for _, one := range all {
		from, ok := one.(map[string]any)
		if !ok {
			return fmt.Errorf("line %d: << must bring a mapping", value.Line)
		}
		for name, inner := range from {
			if _, has := m[name]; !has {
				m[name] = inner
			}
		}
	}
	return nil
}
