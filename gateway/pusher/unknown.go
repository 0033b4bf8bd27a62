package pusher

import (
	"fmt"
	"strings"
)

// requests are the events that a client may send, without their prefix.
var requests = [...]string{
	"subscribe", "unsubscribe", "signin", "ping", "pong", "enable_delta_compression", "delta_sync_error", "resume",
}

// Unknown returns the error text for an unknown event of a client, with the event that was probably meant.
func Unknown(d Dialect, event string) string {
	text := fmt.Sprintf("the event %.100q is not known", event)
	_, name, prefixed := strings.Cut(event, ":")
	switch {
	case !prefixed:
		name = event
	case strings.HasSuffix(event, ":channel_history"):
		return text + ": history is read over HTTP, or by connections of protocol 2"
	}
	best, distance := "", 3
	for _, r := range requests {
		if n := Edits(name, r, distance); n < distance && n < len(r)/2 {
			best, distance = r, n
		}
	}
	switch {
	case best != "":
		return text + "; did you mean " + d.Prefix() + best + "?"
	case prefixed && strings.HasPrefix(event, d.Prefix()):
		return text
	}
	return text + "; the names of events of clients begin with client-"
}

// Edits returns the number of letters to insert, remove, change or swap with the next one to turn a into b,
// limit at most.
func Edits(a, b string, limit int) int {
	if len(a) > len(b)+limit || len(b) > len(a)+limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
