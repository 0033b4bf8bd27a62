package pusher

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// controlEvents are the types of the server's own events in an event stream, by the name of their [Control],
// where they differ.
var controlEvents = map[string]string{
	"subscription_succeeded": "subscribed", "resume_failed": "gap", "resume_success": "resumed",
}

// ownTypes are the event types that publishers cannot use: those of the server, and those of the browser's
// EventSource.
var ownTypes = []string{
	"subscribed", "gap", "resumed", "rewind_complete", "snapshot_complete", "conflated", "cache_miss", "subscription_count",
	"reconnect", "error", "open", "message",
}

// EventType returns the type of an event with this name in an event stream. It is empty, so the type is message,
// if the name contains a line end or is in use by the server.
func EventType(name string) string {
	if strings.ContainsAny(name, "\r\n") || slices.Contains(ownTypes, name) {
		return ""
	}
	return name
}

// AppendEventFields appends an event of an event stream without its id. Each line of the data becomes a field.
func AppendEventFields(dst []byte, kind string, data []byte) []byte {
	dst = appendEventType(dst, kind)
	for len(data) > 0 {
		line := data
		if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
			line = data[:i]
			if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
				i++
			}
			data = data[i+1:]
		} else {
			data = nil
		}
		dst = append(dst, "data: "...)
		dst = append(append(dst, line...), '\n')
	}
	return append(dst, '\n')
}

func appendEventType(dst []byte, kind string) []byte {
	if kind == "" {
		return dst
	}
	dst = append(dst, "event: "...)
	return append(append(dst, kind...), '\n')
}

// AppendEvent appends an event of a channel for an event stream, without its id. The data is the bare text of
// V2.
func AppendEvent(dst []byte, f *EventFrame) []byte {
	dst = appendEventType(dst, EventType(f.Event))
	dst = append(dst, "data: "...)
	begin := len(dst)
	dst = AppendBare(dst, Events, f)
	if !bytes.ContainsAny(dst[begin:], "\r\n") {
		return append(dst, "\n\n"...)
	}
	// Extras that a client wrote may contain line ends, which need several fields.
	text := bytes.Clone(dst[begin:])
	return AppendEventFields(dst[:begin-len("data: ")], "", text)
}

// appendControlEvent appends an event of the server itself. The channel becomes a member of the data, whatever
// the data is.
func appendControlEvent(dst []byte, c *Control) []byte {
	object := []byte(c.Text)
	if c.Object != nil {
		object = c.Object
	}
	kind := c.Event
	if own, ok := controlEvents[kind]; ok {
		kind = own
	}
	if c.Channel == "" || bytes.HasPrefix(object, []byte(`{"channel":`)) {
		return AppendEventFields(dst, kind, object)
	}
	data := AppendString(append(make([]byte, 0, len(object)+len(c.Channel)+64), `{"channel":`...), c.Channel)
	if c.StreamID != "" {
		data = AppendString(append(data, `,"stream_id":`...), c.StreamID)
		data = strconv.AppendUint(append(data, `,"serial":`...), c.Serial, 10)
	}
	if rest := bytes.TrimPrefix(object, []byte("{")); len(rest) > 1 {
		data = append(append(data, ','), rest...)
	} else {
		data = append(data, '}')
	}
	return AppendEventFields(dst, kind, data)
}

// AppendStreamEnd appends the last event of a stream that the server ends: `reconnect` if the reader should
// reconnect at once, else `error`. It also sets the time after which browsers reconnect.
func AppendStreamEnd(dst []byte, code CloseCode, reason string) []byte {
	kind, retry := "error", "5000"
	if code >= 4200 && code < 4300 {
		kind, retry = "reconnect", "100"
	}
	dst = append(append(append(dst, "retry: "...), retry...), '\n')
	return AppendEventFields(dst, kind, AppendErrorData(nil, ErrorCode(code), reason))
}
