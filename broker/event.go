package broker

// DeltaHint is the publisher's wish about delta compression of one event.
type DeltaHint uint8

const (
	// DeltaDefault leaves the decision to the configuration.
	DeltaDefault DeltaHint = iota
	// DeltaNever sends the event plain to every socket (`delta:false`).
	DeltaNever
	// DeltaAlways lifts the minimum size for this event (`delta:true`).
	DeltaAlways
)

// Origin says through which interface an event was published.
type Origin uint8

const (
	// OriginRaw is a publish straight to the log, for example with `nats pub`.
	OriginRaw Origin = iota
	// OriginHTTP is the signed HTTP API.
	OriginHTTP
	// OriginClient is a client event sent over a WebSocket.
	OriginClient
)

// DefaultEventName is the name of an event that was published without one.
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
	// publishes of one app with the same id, one is stored. Empty means that
	// the backend chooses an id for its own retries.
	DedupID string
	// Extras is a JSON object for V2 sockets, nil if there is none.
	Extras []byte
	// Origin is the interface through which the event was published.
	Origin Origin
	// Node names the gateway that accepted the event. It is empty for events that were published straight to
	// the log. It is for statistics only.
	Node string
}

// Bytes returns the size of the event's data, extras and tags. Names and ids are short and not counted.
// Bounds in bytes use it.
func (e *Event) Bytes() int {
	n := len(e.Data) + len(e.Extras)
	for k, v := range e.Tags {
		n += len(k) + len(v)
	}
	return n
}
