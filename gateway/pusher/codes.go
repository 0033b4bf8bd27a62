package pusher

// CloseCode is a WebSocket close code of protocol section 1.5. Clients act on its range: after 4000 to 4099 they
// stop, after 4100 to 4199 they back off, and after 4200 to 4299 they reconnect at once.
type CloseCode uint16

const (
	CloseNoSuchApp           CloseCode = 4001
	CloseAppDisabled         CloseCode = 4003
	CloseOverQuota           CloseCode = 4004
	ClosePathNotFound        CloseCode = 4005
	CloseInvalidVersion      CloseCode = 4006
	CloseUnsupportedProtocol CloseCode = 4007
	CloseNotAuthorized       CloseCode = 4009
	CloseOverCapacity        CloseCode = 4100
	CloseReconnect           CloseCode = 4200
	CloseNoPong              CloseCode = 4201
)

// ErrorCode is the code of a protocol error event, which leaves the connection open. An error code must never be
// used to close a socket: clients treat closes from 4300 on as final. [NoCode] is sent as null.
type ErrorCode int

const (
	NoCode              ErrorCode = 0
	ErrorUnauthorized   ErrorCode = 4009
	ErrorOverCapacity   ErrorCode = 4100
	ErrorClientEvent    ErrorCode = 4301
	ErrorNoRecovery     ErrorCode = 4303
	ErrorWatchlistLimit ErrorCode = 4302
)

// Message returns the sentence that is sent with a close code.
func (c CloseCode) Message() string {
	switch c {
	case CloseNoSuchApp:
		return "no app with this key"
	case CloseAppDisabled:
		return "the app is disabled"
	case CloseOverQuota:
		return "the app has reached its connection limit"
	case ClosePathNotFound:
		return "path not found; connect to /app/KEY"
	case CloseInvalidVersion:
		return "the protocol parameter is not a number"
	case CloseUnsupportedProtocol:
		return "unsupported protocol version; 7 (V1) and 2 (V2) are offered"
	case CloseNotAuthorized:
		return "not authorized"
	case CloseOverCapacity:
		return "too slow: the send queue of this connection is full"
	case CloseReconnect:
		return "reconnect now"
	case CloseNoPong:
		return "no pong in time"
	}
	return "closed"
}
