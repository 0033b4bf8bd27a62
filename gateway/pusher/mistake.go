package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// The required types of JSON values, in the words of errors.
const (
	WantText    = "a string"
	WantBool    = "true or false"
	WantTexts   = "a list of strings"
	WantList    = "a list"
	WantObject  = "an object"
	WantInteger = "a whole number from -2^63 to 2^63-1"
	WantCount   = "a whole number from 0 to 2^64-1"
	WantNumber  = "a number from -1.8e308 to 1.8e308"
)

// Mistake returns an error for a value of a wrong type. member is the path to it, empty for the whole text. got
// is the type as encoding/json names it: string, number, bool, array or object, or "number" with the digits if a
// different number is required.
func Mistake(member, want, got string) error {
	if member == "" {
		member = "it"
	}
	return errors.New(member + " must be " + want + ", not " + kindInWords(got))
}

func kindInWords(got string) string {
	switch got {
	case "string", "number":
		return "a " + got
	case "bool":
		return "a boolean"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	if digits, ok := strings.CutPrefix(got, "number "); ok {
		return fmt.Sprintf("%.40s", digits)
	}
	return got
}

// InPlainWords rewrites type errors of encoding/json in terms of JSON, because the original errors name types of
// this program.
func InPlainWords(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return Mistake(wrong.Field, wantOf(wrong.Type), wrong.Value)
	}
	if err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return errors.New("there is no member " + name)
		}
	}
	return err
}

func wantOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wantOf(t.Elem())
	case reflect.String:
		return WantText
	case reflect.Bool:
		return WantBool
	case reflect.Slice, reflect.Array:
		switch t.Elem().Kind() {
		case reflect.String:
			return WantTexts
		case reflect.Uint8:
			return WantText
		}
		return WantList
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return WantInteger
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return WantCount
	case reflect.Float32, reflect.Float64:
		return WantNumber
	}
	return WantObject
}
