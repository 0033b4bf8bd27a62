package pusher

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Place is the position of a reader in one channel. Without a stream there is no position yet.
type Place struct {
	Stream string
	Serial uint64
}

// In returns the place as a position in a channel.
func (p Place) In(channel string) ResumePosition {
	return ResumePosition{Channel: channel, StreamID: p.Stream, Serial: p.Serial}
}

// An event stream has one id for all of its channels, because browsers keep only the last id. It has a place for
// each channel, in the order of the request:
//
//	STREAM:SERIAL            one channel
//	STREAM:41,57,-;SUM       several; a stream is named if it differs from that of the place before,
//	                         and `-` means no place yet
//
// SUM is a hash of the channel names, so that places are never used for other channels.

// ChannelsSum returns the hash of the channels of a request.
func ChannelsSum(channels []string) uint32 {
	sum := fnv.New32a()
	for _, c := range channels {
		_, _ = sum.Write(append([]byte(c), '\n'))
	}
	return sum.Sum32()
}

// AppendPlaces appends the id for places in channels with that hash. The id is empty for one channel without a
// place.
func AppendPlaces(dst []byte, places []Place, sum uint32) []byte {
	stream := ""
	for i, p := range places {
		if i > 0 {
			dst = append(dst, ',')
		}
		if p.Stream == "" {
			if len(places) > 1 {
				dst = append(dst, '-')
			}
			continue
		}
		if p.Stream != stream {
			stream = p.Stream
			dst = append(append(dst, url.QueryEscape(stream)...), ':')
		}
		dst = strconv.AppendUint(dst, p.Serial, 10)
	}
	if len(places) > 1 {
		dst = fmt.Appendf(dst, ";%08x", sum)
	}
	return dst
}

// IsPlaces reports whether the parameter since is an id: it then names a stream.
func IsPlaces(text string) bool { return strings.ContainsAny(text, ":;") }

// maxPlace is the maximum length of a place in bytes.
const maxPlace = 3*64 + 20

// ParsePlaces parses an id for these channels.
func ParsePlaces(text string, channels []string) ([]Place, error) {
	if len(text) > (maxPlace+2)*len(channels)+9 {
		return nil, fmt.Errorf("it has %d bytes, which no position in %d channels has", len(text), len(channels))
	}
	if len(channels) > 1 {
		places, sum, ok := strings.Cut(text, ";")
		if !ok || sum != fmt.Sprintf("%08x", ChannelsSum(channels)) {
			return nil, fmt.Errorf("%.60q is no position in these %d channels in this order", text, len(channels))
		}
		text = places
	}
	if n := strings.Count(text, ",") + 1; n != len(channels) {
		return nil, fmt.Errorf("it has %d positions for %d channels", n, len(channels))
	}
	parts := strings.Split(text, ",")
	all, stream := make([]Place, len(parts)), ""
	for i, part := range parts {
		if part == "-" && len(parts) > 1 {
			continue
		}
		digits := part
		if at := strings.LastIndexByte(part, ':'); at >= 0 {
			named, err := url.QueryUnescape(part[:at])
			if err != nil || len(named) > 64 || !utf8.ValidString(named) || strings.ContainsFunc(named, unicode.IsControl) {
				return nil, fmt.Errorf("the stream of %.60q is not one", part)
			}
			stream, digits = named, part[at+1:]
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n > maxSerial {
			return nil, fmt.Errorf("%.60q is not STREAM:SERIAL with a serial from 0 to 2^53-1", part)
		}
		if stream == "" {
			return nil, errors.New("it names no stream")
		}
		all[i] = Place{stream, n}
	}
	return all, nil
}
