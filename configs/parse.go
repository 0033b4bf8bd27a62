package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/tailscale/hujson"
	"go.yaml.in/yaml/v3"
)

// word is an unquoted value whose original text is lost (a number or a date of TOML), or that means nothing
// (null of YAML). It cannot be converted to text, so a key that takes texts refuses it.
type word string

// null reports whether the word means nothing.
func (w word) null() bool {
	switch w {
	case "null", "Null", "NULL", "~":
		return true
	}
	return false
}

// parser is a [koanf.Parser] of one format. Its leaves are texts as written, including numbers and booleans, so
// that 0042 does not become 34. A leaf is a [word] if its text is not available, and nil for nothing.
type parser struct {
	read  func([]byte) (map[string]any, error)
	write func(any) ([]byte, error)
}

var (
	jsonParser = parser{read: parseObject, write: func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }}
	yamlParser = parser{read: parseYAML, write: yaml.Marshal}
	tomlParser = parser{read: parseTOML, write: toml.Marshal}
)

// parserOf returns the parser for a file extension.
func parserOf(ext string) (parser, error) {
	switch strings.ToLower(ext) {
	case ".json", ".jsonc":
		return jsonParser, nil
	case ".yaml", ".yml":
		return yamlParser, nil
	case ".toml":
		return tomlParser, nil
	}
	return parser{}, fmt.Errorf("the ending %q is not one of .json, .jsonc, .yaml, .yml, .toml", ext)
}

func (f parser) Unmarshal(content []byte) (map[string]any, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if !utf8.Valid(content) {
		return nil, errors.New("the file is not UTF-8")
	}
	return f.read(content)
}

func (f parser) Marshal(tree map[string]any) ([]byte, error) { return f.write(tree) }

func parseObject(content []byte) (map[string]any, error) {
	v, err := parseJSON(content)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, errors.New("must be a JSON object")
	}
	return m, nil
}

// parseJSON parses one value, with comments and trailing commas.
func parseJSON(content []byte) (any, error) {
	plain, err := hujson.Standardize(content)
	if err != nil {
		// An invalid literal may be a secret without quotes.
		text, _, _ := strings.Cut(err.Error(), "invalid literal")
		if text != err.Error() {
			return nil, errors.New(text + "invalid literal; is it a text without quotes?")
		}
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.UseNumber()
	v, err := jsonValue(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the JSON value")
	}
	return v, nil
}

// jsonValue reads tokens, because the decoder silently takes the last of two members with the same name.
func jsonValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch x := token.(type) {
	case json.Delim:
		if x == '[' {
			return jsonList(dec)
		}
		return jsonObject(dec)
	case json.Number:
		return x.String(), nil
	case bool:
		return fmt.Sprint(x), nil
	}
	return token, nil
}

func jsonList(dec *json.Decoder) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := jsonValue(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return list, err
}

func jsonObject(dec *json.Decoder) (any, error) {
	m := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("the key %q is given twice in one object", shorten(name))
		}
		if m[name], err = jsonValue(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return m, err
}

func parseTOML(content []byte) (map[string]any, error) {
	var m map[string]any
	if err := toml.Unmarshal(content, &m); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return nil, err
	}
	out, _ := tomlTree(m).(map[string]any)
	return out, nil
}

func tomlTree(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, inner := range x {
			out[name] = tomlTree(inner)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, inner := range x {
			out[i] = tomlTree(inner)
		}
		return out
	case string:
		return x
	}
	return word(fmt.Sprint(v))
}
