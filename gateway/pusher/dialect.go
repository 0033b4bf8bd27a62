package pusher

// Dialect is a variant of the protocol. A socket speaks one for its whole life.
type Dialect uint8

const (
	// V1 is Pusher protocol 7, event prefix `pusher:`.
	V1 Dialect = iota
	// V2 is the extended protocol, event prefix `sockudo:`, with message ids,
	// stream ids and serials.
	V2
	// Events is the dialect of event streams (text/event-stream of HTML): events as in V2, in the frames of
	// another protocol. Nothing is received in it.
	Events
	// Dialects is the number of dialects, for tables indexed by them.
	Dialects = 3
)

// Prefix is the prefix of protocol events that a client may see and send.
func (d Dialect) Prefix() string {
	if d != V1 {
		return "sockudo:"
	}
	return "pusher:"
}

// InternalPrefix is the prefix of events between server and client library.
func (d Dialect) InternalPrefix() string {
	if d != V1 {
		return "sockudo_internal:"
	}
	return "pusher_internal:"
}

// ParseDialect parses the `protocol` query parameter (protocol section 1.1). If it reports false, the code is
// the one to close with.
func ParseDialect(protocol string) (Dialect, CloseCode, bool) {
	switch protocol {
	case "", "4", "5", "6", "7":
		return V1, 0, true
	case "2":
		return V2, 0, true
	}
	for i, c := range protocol {
		if (c < '0' || c > '9') && (i > 0 || c != '-' || len(protocol) == 1) {
			return V1, CloseInvalidVersion, false
		}
	}
	return V1, CloseUnsupportedProtocol, false
}
