package pusher

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// ResumePosition is where a client was in one channel when it lost its connection
// (protocol section 5.3).
type ResumePosition struct {
	Channel string
	// StreamID is the epoch of the position; empty in the older form, which cannot be
	// verified.
	StreamID string
	// Serial is the offset of the last event that the client has seen, below 2^53, or the
	// place at which it began, see [ExactPlace].
	Serial uint64
	// LastMessageID is the id of that event; one that is replayed with it is left out.
	LastMessageID string
	// Since is the offset since which the client has seen every event of the channel and
	// has kept what deltas start from. KeepsBases is false when it does not say.
	Since      uint64
	KeepsBases bool
	// Salt is by how much the numbers of those are above their offsets, modulo 2^31; nil when it
	// does not say.
	Salt *uint32
}

// Resume is a resume request.
type Resume struct {
	Positions []ResumePosition
	// SocketID is the id of the socket that the client was before, empty if it does not say:
	// events that excluded it are left out.
	SocketID string
}

// maxSerial is the largest offset; beyond it numbers of JavaScript are not exact.
const maxSerial = 1<<53 - 1

// ParseResume reads the positions of a resume request: `channel_positions`, or the older
// `channel_serials`. At most limit of them are accepted, and at least one must be there.
// Names of channels are not checked. An error names the member.
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
		p.LastMessageID = "" // That of no event.
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
	// What is kept must not keep the whole message.
	p.StreamID, p.LastMessageID = strings.Clone(p.StreamID), strings.Clone(p.LastMessageID)
	return p, nil
}

// salt reads by how much numbers are above offsets.
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

// serial reads an offset: a number up to maxSerial, or a decimal in a string, which is at most
// maxSerial+1 then.
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
		// Clients write what is beyond 2^53-1 so. No log gets there, so each of them is as far
		// ahead as any other.
		return min(n, maxSerial+1), nil
	}
	if err != nil || n > maxSerial {
		return 0, fmt.Errorf("serial is %.40q, must be a whole number from 0 to 2^53-1", digits)
	}
	return n, nil
}

// FailureCode says why a position cannot be resumed (protocol section 5.3).
type FailureCode string

const (
	// PositionExpired: events after the position are not kept any more, or are more than
	// may be replayed.
	PositionExpired FailureCode = "position_expired"
	// StreamReset: the position is of another life of the channel.
	StreamReset FailureCode = "stream_reset"
	// ContinuityUnverifiable: the position names no life, or is above the newest event.
	ContinuityUnverifiable FailureCode = "continuity_unverifiable"
	// PersistenceUnavailable: the log cannot be read at the moment.
	PersistenceUnavailable FailureCode = "persistence_unavailable"
)

// FailureCodes are all of them.
var FailureCodes = [...]FailureCode{PositionExpired, StreamReset, ContinuityUnverifiable, PersistenceUnavailable}

// WithAttachSerial adds the place at which a subscription begins to the data of its success
// frame, which is the text of an object.
func WithAttachSerial(data string, serial uint64) string {
	return withMember(data, `"attach_serial":`+strconv.FormatUint(serial, 10))
}

// WithSnapshot adds that the subscription begins with a snapshot.
func WithSnapshot(data string) string { return withMember(data, `"snapshot":true`) }

func withMember(data, member string) string {
	head := strings.TrimSuffix(data, "}")
	if head != "{" {
		head += ","
	}
	return head + member + "}"
}

// Recovered is a channel that was resumed.
type Recovered struct {
	Channel string
	// Source is "hot" when memory had everything and "cold" when the log was read.
	Source string
	// Replayed counts the frames that were sent.
	Replayed int
	// Stream, Serial and LastMessageID are the last position covered; the id may be empty.
	Stream        string
	Serial        uint64
	LastMessageID string
}

// ResumeFailure is a channel that could not be resumed.
type ResumeFailure struct {
	Channel string
	Code    FailureCode
	// Reason is a sentence for people.
	Reason string
	// Expected is the epoch of the position and Current that of the channel.
	Expected, Current string
	// Oldest and Newest are what the log has, 0 when it has nothing or cannot be asked.
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
