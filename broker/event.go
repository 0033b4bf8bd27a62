package broker

// DeltaHint is what a publisher says about delta compression of one event.
type DeltaHint uint8

const (
	// DeltaDefault leaves the decision to the configuration.
	DeltaDefault DeltaHint = iota
	// DeltaNever sends the event plain to every socket (`delta:false`).
	DeltaNever
	// DeltaAlways lifts the minimum size for this event (`delta:true`).
	DeltaAlways
)

// Origin says through which door an event came in.
type Origin uint8

const (
	// OriginRaw is a publish straight to the log, for example with `nats pub`.
	OriginRaw Origin = iota
	// OriginHTTP is the signed HTTP API.
	OriginHTTP
	// OriginClient is a client event sent over a WebSocket.
	OriginClient
)

// DefaultEventName names an event whose publisher did not.
const DefaultEventName = "message"

// Event is what a publisher hands over. It is read-only from the moment it is
// given to a [Publisher]; its byte slices are shared and never written again.
type Event struct {
	// Name is the event name, 1 to 200 bytes.
	Name string
	// Data is the data string of the event as UTF-8 text. It need not be JSON.
	Data []byte
	// UserID is the presence user id of the sender of a client event.
	UserID string
	// Tags is a flat map for filtering, nil if there are none.
	Tags map[string]string
	// Delta is the publisher's wish about delta compression.
	Delta DeltaHint
	// ConflationKey overrides the configured conflation path when HasKey is set.
	ConflationKey string
	HasKey        bool
	// ExcludeSocket is the id of a socket that must not receive the event.
	ExcludeSocket string
	// MessageID is chosen by the publisher, at most 128 bytes; empty means
	// that [Publication.ID] derives one from the position.
	MessageID string
	// DedupID names the event for the duplicate window of the log: of several
	// publishes of one app with the same id one is stored. Empty means that
	// the backend makes one up for its own retries.
	DedupID string
	// Extras is a JSON object for V2 sockets, nil if there is none.
	Extras []byte
	// Origin is the door through which the event came.
	Origin Origin
	// Node names the gateway that took the event in, empty for events that
	// were published straight to the log. It is for statistics only.
	Node string
}

// Bytes is the size of what an event carries beside its names and ids, which are short: data,
// extras and tags. Bounds in bytes count it.
func (e *Event) Bytes() int {
	n := len(e.Data) + len(e.Extras)
	for k, v := range e.Tags {
		n += len(k) + len(v)
	}
	return n
}
