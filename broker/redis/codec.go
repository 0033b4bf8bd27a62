package redis

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluicehq/sluice/broker"
)

// An event is stored as one string:
//
//	version (1 byte), flags (1 byte), then each with its length before it (uvarint):
//	name, conflation key, user id, excluded socket, message id, node, extras;
//	the number of tags (uvarint) and their keys and values; the rest is the data
const (
	codecVersion = 1

	flagNever, flagAlways = 1 << 0, 1 << 1
	flagHasKey            = 1 << 2
	flagHTTP, flagClient  = 1 << 3, 1 << 4
)

const maxTags = 1024

func encode(ev *broker.Event) []byte {
	size := 64 + len(ev.Name) + len(ev.ConflationKey) + len(ev.UserID) + len(ev.ExcludeSocket) +
		len(ev.MessageID) + len(ev.Node) + len(ev.Extras) + len(ev.Data)
	for k, v := range ev.Tags {
		size += len(k) + len(v) + 4
	}
	b := make([]byte, 0, size)
	flags := byte(0)
	switch ev.Delta {
	case broker.DeltaNever:
		flags |= flagNever
	case broker.DeltaAlways:
		flags |= flagAlways
	}
	if ev.HasKey {
		flags |= flagHasKey
	}
	switch ev.Origin {
	case broker.OriginHTTP:
		flags |= flagHTTP
	case broker.OriginClient:
		flags |= flagClient
	}
	b = append(b, codecVersion, flags)
	put := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, s := range [...]string{ev.Name, ev.ConflationKey, ev.UserID, ev.ExcludeSocket, ev.MessageID, ev.Node} {
		put(s)
	}
	b = binary.AppendUvarint(b, uint64(len(ev.Extras)))
	b = append(b, ev.Extras...)
	b = binary.AppendUvarint(b, uint64(len(ev.Tags)))
	for k, v := range ev.Tags {
		put(k)
		put(v)
	}
	return append(b, ev.Data...)
}

var errMalformed = errors.New("malformed entry")

// decode parses what encode wrote. Data and Extras are copies; the other texts share the memory of s.
func decode(s string) (ev broker.Event, err error) {
	if len(s) < 2 {
		return ev, errMalformed
	}
	if s[0] != codecVersion {
		return ev, fmt.Errorf("%w: version %d", errMalformed, s[0])
	}
	flags := s[1]
	s = s[2:]
	number := func() uint64 {
		v, shift := uint64(0), 0
		for i := 0; i < len(s) && i < binary.MaxVarintLen32; i++ {
			v |= uint64(s[i]&0x7f) << shift
			shift += 7
			if s[i] < 0x80 {
				s = s[i+1:]
				return v
			}
		}
		err = errMalformed
		return 0
	}
	text := func() string {
		n := number()
		if err != nil || n > uint64(len(s)) {
			err = errMalformed
			return ""
		}
		v := s[:n]
		s = s[n:]
		return v
	}
	for _, to := range [...]*string{&ev.Name, &ev.ConflationKey, &ev.UserID, &ev.ExcludeSocket, &ev.MessageID, &ev.Node} {
		*to = text()
	}
	if extras := text(); extras != "" {
		ev.Extras = []byte(extras)
	}
	tags := number()
	if err != nil || tags > maxTags {
		return broker.Event{}, errMalformed
	}
	if tags > 0 {
		ev.Tags = make(map[string]string, tags)
		for range tags {
			k := text()
			ev.Tags[k] = text()
		}
	}
	if err != nil {
		return broker.Event{}, errMalformed
	}
	switch {
	case flags&flagNever != 0:
		ev.Delta = broker.DeltaNever
	case flags&flagAlways != 0:
		ev.Delta = broker.DeltaAlways
	}
	switch {
	case flags&flagHTTP != 0:
		ev.Origin = broker.OriginHTTP
	case flags&flagClient != 0:
		ev.Origin = broker.OriginClient
	}
	ev.HasKey = flags&flagHasKey != 0
	ev.Data = []byte(s)
	return ev, nil
}
