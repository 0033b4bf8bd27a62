package pusher

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// ResumePosition is the position of a client in one channel when its connection broke (protocol section 5.3).
type ResumePosition struct {
	Channel string
	// StreamID is the epoch of the position. It is empty in the older form, which cannot be verified.
	StreamID string
	// Serial is the offset of the last event that the client received, below 2^53, or the place at which the
	// subscription began, see [ExactPlace].
	Serial uint64
	// LastMessageID is the id of that event. An event with this id is not replayed.
	LastMessageID string
	// Since is the offset after which the client has received every event of the channel and kept the bases of
	// deltas. KeepsBases is false if the client does not send it.
	Since      uint64
	KeepsBases bool
	// Salt is the difference between sequence numbers and offsets, modulo 2^31; nil if the client does not send
	// it.
	Salt *uint32
}

// Resume is a resume request.
type Resume struct {
	Positions []ResumePosition
	// SocketID is the previous socket id of the client, empty if it does not send it. Events that excluded that
	// socket are not replayed.
	SocketID string
}

// maxSerial is the largest offset; JavaScript numbers are not exact beyond it.
const maxSerial = 1<<53 - 1

// ParseResume parses the positions of a resume request: `channel_positions`, or the older `channel_serials`.
// There must be from 1 to limit of them. Channel names are not checked. An error names the member.
func ParseResume(data string, limit int) (r Resume, err error) {
	v, err := payload(data)
	if err != nil {
		return r, err
	}
	was, err := text(v.Get("socket_id"), "socket_id")
	if err != nil || len(was) > 64 {
		return r, errors.New("socket_id is not a string of 64 bytes or less")
	}
	r.SocketID = strings.Clone(was)
	r.Positions, err = resumePositions(v, limit)
	return r, err
}

func resumePositions(v gjson.Result, limit int) (all []ResumePosition, err error) {
	positions, older := v.Get("channel_positions"), false
	if positions.Type == gjson.Null {
		positions, older = v.Get("channel_serials"), true
	}
	switch {
	case positions.Type == gjson.Null:
		return nil, errors.New("channel_positions is missing")
	case !positions.IsObject():
		return nil, errors.New("channel_positions is not an object")
	}
	seen := map[string]bool{}
	positions.ForEach(func(name, at gjson.Result) bool {
		switch {
		case name.Str == "":
			err = errors.New("channel_positions has a channel without a name")
		case seen[name.Str]:
			err = fmt.Errorf("channel_positions has %.100q twice", name.Str)
		case len(all) == limit:
			err = fmt.Errorf("channel_positions has more than %d channels", limit)
		}
		if err != nil {
			return false
		}
		var p ResumePosition
		if older {
			p.Serial, err = serial(at)
		} else {
			p, err = resumePosition(at)
		}
		if err != nil {
			err = fmt.Errorf("position of %.100q: %w", name.Str, err)
			return false
		}
		p.Channel = strings.Clone(name.Str)
		seen[p.Channel] = true
		all = append(all, p)
		return true
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("channel_positions is empty")
	}
	return all, nil
}

func resumePosition(v gjson.Result) (p ResumePosition, err error) {
	if !v.IsObject() {
		return p, errors.New("it is not an object")
	}
	if p.Serial, err = serial(v.Get("serial")); err != nil {
		return p, err
	}
	if p.StreamID, err = text(v.Get("stream_id"), "stream_id"); err != nil {
		return p, err
	}
	if p.LastMessageID, err = text(v.Get("last_message_id"), "last_message_id"); err != nil {
		return p, err
	}
	if n := len(p.StreamID); n > 64 {
		return p, fmt.Errorf("stream_id has %d bytes, the limit is 64", n)
	}
	if n := len(p.LastMessageID); n > 128 {
		return p, fmt.Errorf("last_message_id has %d bytes, the limit is 128", n)
	}
	place, marked := ExactPlace(p.Serial, p.LastMessageID)
	if p.Serial = place; marked {
		p.LastMessageID = "" // it is the id of no event
	}
	if since := v.Get("bases_since"); since.Type != gjson.Null {
		if p.Since, err = serial(since); err != nil {
			return p, fmt.Errorf("bases_since: %w", err)
		}
		if p.Since > p.Serial {
			return p, fmt.Errorf("bases_since %d is above serial %d", p.Since, p.Serial)
		}
		if p.KeepsBases = true; marked {
			p.Since = place
		}
	}
	if p.Salt, err = salt(v.Get("bases_salt")); err != nil {
		return p, err
	}
	// The copies do not keep the whole message in memory.
	p.StreamID, p.LastMessageID = strings.Clone(p.StreamID), strings.Clone(p.LastMessageID)
	return p, nil
}

// salt parses the difference between sequence numbers and offsets.
func salt(v gjson.Result) (*uint32, error) {
	if v.Type == gjson.Null {
		return nil, nil
	}
	n, err := strconv.ParseUint(Whole(v.Raw), 10, 31)
	if err != nil {
		return nil, fmt.Errorf("bases_salt is %.40q, must be a whole number from 0 to 2^31-1", v.Raw)
	}
	less := uint32(n)
	return &less, nil
}

// serial parses an offset: a number up to maxSerial, or a decimal string, whose value is limited to maxSerial+1.
func serial(v gjson.Result) (uint64, error) {
	digits := v.Str
	switch v.Type {
	case gjson.String:
	case gjson.Number:
		digits = Whole(v.Raw)
	case gjson.Null:
		return 0, errors.New("serial is missing")
	default:
		return 0, errors.New("serial is not a number")
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if v.Type == gjson.String && (err == nil || errors.Is(err, strconv.ErrRange)) {
		// Clients send numbers beyond 2^53-1 as strings. No log reaches them, so all of them are equally too
		// large.
		return min(n, maxSerial+1), nil
	}
	if err != nil || n > maxSerial {
		return 0, fmt.Errorf("serial is %.40q, must be a whole number from 0 to 2^53-1", digits)
	}
	return n, nil
}

// FailureCode is the reason why a position cannot be resumed (protocol section 5.3).
type FailureCode string

const (
	// PositionExpired means that events after the position are no longer kept, or are more than may be replayed.
	PositionExpired FailureCode = "position_expired"
	// StreamReset means that the position belongs to another epoch of the channel.
	StreamReset FailureCode = "stream_reset"
	// ContinuityUnverifiable means that the position names no epoch, or is above the newest event.
	ContinuityUnverifiable FailureCode = "continuity_unverifiable"
	// PersistenceUnavailable means that the log cannot be read at the moment.
	PersistenceUnavailable FailureCode = "persistence_unavailable"
)

// FailureCodes are all failure codes.
var FailureCodes = [...]FailureCode{PositionExpired, StreamReset, ContinuityUnverifiable, PersistenceUnavailable}

// WithAttachSerial adds the serial at which a subscription begins to the data of its success frame, which is the
// text of an object.
func WithAttachSerial(data string, serial uint64) string {
	return withMember(data, `"attach_serial":`+strconv.FormatUint(serial, 10))
}

// WithSnapshot adds to the data of a success frame that the subscription begins with a snapshot.
func WithSnapshot(data string) string { return withMember(data, `"snapshot":true`) }

func withMember(data, member string) string {
	head := strings.TrimSuffix(data, "}")
	if head != "{" {
		head += ","
	}
	return head + member + "}"
}

// Recovered describes a channel that was resumed.
type Recovered struct {
	Channel string
	// Source is "hot" if everything came from memory, and "cold" if the log was read.
	Source string
	// Replayed is the number of replayed frames.
	Replayed int
	// Stream, Serial and LastMessageID are the last position that was covered; the id may be empty.
	Stream        string
	Serial        uint64
	LastMessageID string
}

// ResumeFailure describes a channel that could not be resumed.
type ResumeFailure struct {
	Channel string
	Code    FailureCode
	// Reason is a sentence for humans.
	Reason string
	// Expected is the epoch of the position, and Current that of the channel.
	Expected, Current string
	// Oldest and Newest are the offsets of the log, 0 if it is empty or cannot be read.
	Oldest, Newest uint64
}

// AppendResumeFailed appends the data object of a `resume_failed` event.
func AppendResumeFailed(dst []byte, f *ResumeFailure) []byte {
	dst = append(dst, `{"channel":`...)
	dst = AppendString(dst, f.Channel)
	dst = append(dst, `,"code":"`...)
	dst = append(dst, f.Code...)
	dst = append(dst, `","reason":`...)
	dst = AppendString(dst, f.Reason)
	dst = appendNullable(append(dst, `,"expected_stream_id":`...), f.Expected)
	dst = appendNullable(append(dst, `,"current_stream_id":`...), f.Current)
	dst = appendAvailable(append(dst, `,"oldest_available_serial":`...), f.Oldest)
	dst = appendAvailable(append(dst, `,"newest_available_serial":`...), f.Newest)
	return append(dst, '}')
}

// AppendResumeSuccess appends the data object of a `resume_success` event.
func AppendResumeSuccess(dst []byte, recovered []Recovered, failed []ResumeFailure) []byte {
	dst = append(dst, `{"recovered":[`...)
	for i := range recovered {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRecovered(dst, &recovered[i])
	}
	dst = append(dst, `],"failed":[`...)
	for i := range failed {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendResumeFailed(dst, &failed[i])
	}
	return append(dst, `]}`...)
}

func appendRecovered(dst []byte, r *Recovered) []byte {
	dst = append(dst, `{"channel":`...)
	dst = AppendString(dst, r.Channel)
	dst = append(dst, `,"source":"`...)
	dst = append(dst, r.Source...)
	dst = append(dst, `","replayed":`...)
	dst = strconv.AppendInt(dst, int64(r.Replayed), 10)
	dst = append(dst, `,"position":{"stream_id":`...)
	dst = AppendString(dst, r.Stream)
	dst = append(dst, `,"serial":`...)
	dst = strconv.AppendUint(dst, r.Serial, 10)
	if r.LastMessageID != "" {
		dst = append(dst, `,"last_message_id":`...)
		dst = AppendString(dst, r.LastMessageID)
	}
	return append(dst, `}}`...)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, `null`...)
	}
	return AppendString(dst, s)
}

func appendAvailable(dst []byte, n uint64) []byte {
	if n == 0 {
		return append(dst, `null`...)
	}
	return strconv.AppendUint(dst, n, 10)
}
