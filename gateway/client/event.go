package client

import "time"

// Form says how an event travelled.
type Form uint8

const (
	// Plain is a full frame that takes no part in delta compression.
	Plain Form = iota
	// Full is a full frame with a number, a base for later deltas.
	Full
	// Delta was rebuilt from a delta frame.
	Delta
	// Control is a protocol event. Clients do not pass it on as an event.
	Control
)

// String is the form in lower case.
func (f Form) String() string {
	switch f {
	case Plain:
		return "plain"
	case Full:
		return "full"
	case Delta:
		return "delta"
	}
	return "control"
}

// Event is one event, whatever the form it travelled in.
type Event struct {
	Channel, Name string
	// Data is the text of a data string, or the JSON of structured data.
	Data   string
	UserID string
	// Frame is the complete text of the event's frame, rebuilt if it travelled
	// as a delta.
	Frame string
	Form  Form
	// WireBytes is the length of the frame that travelled, FullBytes that of
	// Frame, both without the WebSocket header.
	WireBytes, FullBytes int
	// Number is the number of the publication in forms Full and Delta.
	Number uint32
	// BaseNumber is the number of the frame that a delta started from, and
	// Algorithm its format.
	BaseNumber uint32
	Algorithm  string
	// Key is the conflation value if Keyed is set.
	Key   string
	Keyed bool
	// MessageID, StreamID and Serial are set in the second dialect only.
	MessageID, StreamID string
	Serial              uint64
	// Received is when the frame was read; a [Decoder] leaves it zero.
	Received time.Time
}
