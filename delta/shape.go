package delta

import "encoding/json"

// Shape is what a publisher's data string is, as far as frames care (protocol
// sections 3.6 and 3.7).
type Shape uint8

const (
	// Empty data.
	Empty Shape = iota
	// Scalar is JSON other than an object or array; clients would show it
	// differently in full and delta form.
	Scalar
	// Structure is a JSON object or array, which frames embed as it is.
	Structure
	// Text is not JSON and travels as a string.
	Text
)

// ShapeOf reads the whole text: what it calls a Structure can be embedded in JSON.
func ShapeOf(data []byte) Shape {
	i := 0
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	if i == len(data) {
		if i == 0 {
			return Empty
		}
		return Text
	}
	switch c := data[i]; {
	case c == '{' || c == '[':
		if json.Valid(data) {
			return Structure
		}
	case c == '"' || c == '-' || c == 't' || c == 'f' || c == 'n' || '0' <= c && c <= '9':
		if json.Valid(data) {
			return Scalar
		}
	}
	return Text
}
