package pusher

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestRun17ErrorsOfTypesAreInPlainWords: the error for a value of a wrong type names the member and the
// wanted type, and no Go type.
func TestRun17ErrorsOfTypesAreInPlainWords(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
	}
	type record struct {
		Text    string          `json:"text"`
		Maybe   *bool           `json:"maybe"`
		Texts   []string        `json:"texts"`
		Bytes   []byte          `json:"bytes"`
		Count   uint64          `json:"count"`
		Whole   *int            `json:"whole"`
		Share   float64         `json:"share"`
		Inner   inner           `json:"inner"`
		Inners  []inner         `json:"inners"`
		Any     map[string]any  `json:"any"`
		Numbers map[string]int8 `json:"numbers"`
	}
	for text, want := range map[string]string{
		`{"text":1}`:               "text must be a string, not a number",
		`{"text":[]}`:              "text must be a string, not a list",
		`{"maybe":"yes"}`:          "maybe must be true or false, not a string",
		`{"texts":"a"}`:            "texts must be a list of strings, not a string",
		`{"texts":["a",true]}`:     "texts must be a string, not a boolean",
		`{"bytes":{}}`:             "bytes must be a string, not an object",
		`{"count":-1}`:             "count must be a whole number from 0 to 2^64-1, not -1",
		`{"count":"1"}`:            "count must be a whole number from 0 to 2^64-1, not a string",
		`{"whole":1.5}`:            "whole must be a whole number from -2^63 to 2^63-1, not 1.5",
		`{"share":1e999}`:          "share must be a number from -1.8e308 to 1.8e308, not 1e999",
		`{"inner":3}`:              "inner must be an object, not a number",
		`{"inner":{"name":false}}`: "inner.name must be a string, not a boolean",
		`{"inners":[{"name":{}}]}`: "inners.name must be a string, not an object",
		`{"inners":{}}`:            "inners must be a list, not an object",
		`{"any":[]}`:               "any must be an object, not a list",
		`[]`:                       "it must be an object, not a list",
		`"x"`:                      "it must be an object, not a string",
		`{"other":1}`:              `there is no member "other"`,
		`{"count":` + strings.Repeat("9", 90) + `}`: "count must be a whole number from 0 to 2^64-1, not " + strings.Repeat("9", 40),
	} {
		in := json.NewDecoder(strings.NewReader(text))
		in.DisallowUnknownFields()
		err := InPlainWords(in.Decode(&record{}))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	other := errors.New("other")
	if InPlainWords(nil) != nil || InPlainWords(other) != other {
		t.Error("other errors are changed")
	}
}
