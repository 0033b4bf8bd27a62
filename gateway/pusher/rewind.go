package pusher

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

// Rewind is the part of the past that a subscription requests (protocol section 5.4). Exactly one member is set.
type Rewind struct {
	// Count requests the last Count events.
	Count int
	// Age requests the events that are not older than Age.
	Age time.Duration
	// Latest requests the newest event of each conflation value.
	Latest bool
}

const (
	maxRewindCount   = 1<<31 - 1
	maxRewindSeconds = 10 * 365 * 86400
)

var errRewind = errors.New(`rewind must be a number of events, {"count":N}, {"seconds":N} or {"latest":true}`)

// ParseRewind parses the member `rewind` of a subscription.
func ParseRewind(value string) (Rewind, error) {
	v := gjson.Parse(value)
	switch v.Type {
	case gjson.String:
		n, err := wholeNumber("rewind", v.Str, maxRewindCount)
		return Rewind{Count: n}, err
	case gjson.Number:
		n, err := memberNumber("rewind", v, maxRewindCount)
		return Rewind{Count: n}, err
	}
	if !v.IsObject() {
		return Rewind{}, errRewind
	}
	var r Rewind
	var err error
	members := 0
	v.ForEach(func(name, value gjson.Result) bool {
		members++
		switch name.Str {
		case "count":
			r.Count, err = memberNumber("rewind.count", value, maxRewindCount)
		case "seconds", "duration_seconds":
			var n int
			n, err = memberNumber("rewind."+name.Str, value, maxRewindSeconds)
			r.Age = time.Duration(n) * time.Second
		case "latest":
			if r.Latest = value.Type == gjson.True; !r.Latest {
				err = errors.New("rewind.latest must be true")
			}
		default:
			err = errRewind
		}
		return err == nil
	})
	if err == nil && members != 1 {
		err = errRewind
	}
	if err != nil {
		return Rewind{}, err
	}
	return r, nil
}

// memberNumber parses a number of the structure. A string of digits is refused there: only the whole rewind may be one.
func memberNumber(name string, v gjson.Result, most int) (int, error) {
	if v.Type != gjson.Number {
		return 0, fmt.Errorf("%s is not a number", name)
	}
	return wholeNumber(name, Whole(v.Raw), most)
}

// wholeNumber parses a number from 1 to most.
func wholeNumber(name, digits string, most int) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 64) // takes no sign
	if err != nil || n < 1 || n > uint64(most) {
		return 0, fmt.Errorf("%s is %.40q, must be a whole number from 1 to %d", name, digits, most)
	}
	return int(n), nil
}

// RewindComplete is the data of the event that ends a rewind (protocol section 5.4).
type RewindComplete struct {
	// History is the number of past events that were sent, and Live that of events published meanwhile.
	History, Live int
	// ByRetention means that some requested events are no longer kept, and ByLimit that more were requested than
	// a page holds.
	ByRetention, ByLimit bool
}

// AppendRewindComplete appends the data object of a `rewind_complete` event.
func AppendRewindComplete(dst []byte, r RewindComplete) []byte {
	dst = strconv.AppendInt(append(dst, `{"historical_count":`...), int64(r.History), 10)
	dst = strconv.AppendInt(append(dst, `,"live_count":`...), int64(r.Live), 10)
	dst = strconv.AppendBool(append(dst, `,"complete":`...), !r.ByRetention && !r.ByLimit)
	dst = strconv.AppendBool(append(dst, `,"truncated_by_retention":`...), r.ByRetention)
	dst = strconv.AppendBool(append(dst, `,"truncated_by_limit":`...), r.ByLimit)
	return append(dst, '}')
}

// AppendSnapshotComplete appends the data object of a `snapshot_complete` event. count is the number of
// conflation values whose newest event was sent. complete is false if there were more values than are kept.
func AppendSnapshotComplete(dst []byte, count int, complete bool) []byte {
	dst = strconv.AppendInt(append(dst, `{"count":`...), int64(count), 10)
	dst = strconv.AppendBool(append(dst, `,"complete":`...), complete)
	return append(dst, '}')
}
