package delta

// Shape classifies a publisher's data string for frames (protocol sections 3.6 and 3.7).
type Shape uint8

const (
	// Empty is data without bytes.
	Empty Shape = iota
	// Scalar is JSON other than an object or array: a number, a string, true,
	// false or null. Clients would show it differently in full and delta form.
	Scalar
	// Structure is a JSON object or array, which frames embed as it is.
	Structure
	// Text is not JSON and travels as a string.
	Text
)

// ShapeOf reads all of the data: a [Structure] is valid JSON in UTF-8 and remains so when it is embedded,
// white space and repeated names included. JSON nested deeper than 1000 levels is [Text].
func ShapeOf(data []byte) Shape {
	if len(data) == 0 {
		return Empty
	}
	i := skipSpace(data, 0)
	if i == len(data) {
		return Text
	}
	switch c := data[i]; {
	case c == '{' || c == '[':
		if validJSON(data) {
			return Structure
		}
	case c == '"' || c == '-' || c == 't' || c == 'f' || c == 'n' || c-'0' <= 9:
		if validJSON(data) {
			return Scalar
		}
	}
	return Text
}
