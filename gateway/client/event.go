package client

import "time"

// Form is the form in which an event was sent.
type Form uint8

const (
	// Plain is a full frame without delta compression.
	Plain Form = iota
	// Full is a full frame with a sequence number, which may be a base of later deltas.
	Full
	// Delta is an event that was rebuilt from a delta frame.
	Delta
	// Control is a protocol event. Clients do not pass it on as an event.
	Control
)

// String returns the form in lower case.
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

// Event is one event, in whatever form it was sent.
type Event struct {
	Channel, Name string
	// Data is the text of a data string, or the JSON of structured data.
	Data   string
	UserID string
	// Frame is the complete text of the event's frame, rebuilt in the case of a delta.
	Frame string
	Form  Form
	// WireBytes is the length of the received frame, and FullBytes that of Frame, both without the WebSocket
	// header.
	WireBytes, FullBytes int
	// Number is the sequence number of the publication, for the forms Full and Delta.
	Number uint32
	// BaseNumber is the sequence number of the base of a delta, and Algorithm its format.
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
