package rest

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	maxExtras = 16 << 10
	// maxReplay is the largest mark of a replay.
	maxReplay = 2048
)

// extras are the members of extras that mean something here (protocol section 5.8).
type extras struct {
	// unfit are headers that are no strings, numbers or booleans.
	unfit          map[string]struct{}
	ephemeral      *bool
	echo           *bool
	idempotencyKey *string
	snakeKey       *string
	// keyed says that a member for an idempotency key is there, whatever its value.
	keyed bool
	// replay says that the event was published before, and where; nil if nothing is said.
	replay []byte
}

var extrasFields = []string{"headers", "ephemeral", "echo", "idempotencyKey", "idempotency_key", "replay"}

// keyFields are those of an idempotency key.
var keyFields = []string{"idempotencyKey", "idempotency_key"}

// readExtras reads extras, which are JSON.
func readExtras(raw []byte) (extras, error) {
	var e extras
	var s scanner
	if s.begin(raw); s.peek() != '{' {
		s.other("", pusher.WantObject)
		return e, s.end()
	}
	s.enter()
	known := fields{names: extrasFields}
	for name, more := s.member(true); more; name, more = s.member(false) {
		switch field := known.of(name); field {
		case "headers":
			s.headers(&e.unfit, field)
		case "ephemeral":
			s.maybeBool(&e.ephemeral, field)
		case "echo":
			s.maybeBool(&e.echo, field)
		case "idempotencyKey":
			e.keyed = true
			s.maybeString(&e.idempotencyKey, field)
		case "idempotency_key":
			e.keyed = true
			s.maybeString(&e.snakeKey, field)
		case "replay":
			e.replay = s.skip()
		default:
			s.skip()
		}
	}
	return e, s.end()
}

// headers reads an object of which it keeps the names with values that are unfit.
func (s *scanner) headers(unfit *map[string]struct{}, member string) {
	if s.peek() != '{' {
		if s.other(member, pusher.WantObject) {
			*unfit = nil
		}
		return
	}
	// Extras that are too large are refused for it, so their headers need not be kept.
	keep := len(s.text) <= maxExtras+maxReplay
	had := map[uint64]struct{}{} // by the sums of their names: of equal ones the first counts
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		sum := maphash.Bytes(nameSeed, unescaped(name))
		if _, again := had[sum]; again {
			s.skip()
			continue
		}
		had[sum] = struct{}{}
		if c := s.peek(); keep && (c == '{' || c == '[' || c == 'n') {
			if *unfit == nil {
				*unfit = map[string]struct{}{}
			}
			(*unfit)[plainText(name)] = struct{}{}
		}
		s.measured = member
		s.skip()
		s.measured = ""
	}
}

// acceptExtras checks the members that mean something here and passes all of them on as they are,
// except for an idempotency key.
func (in *input) acceptExtras(_ *app.App, out *accepted) error {
	raw := in.Extras
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	e, err := readExtras(raw)
	if err != nil {
		return invalid("extras: %v", err)
	}
	if e.replay != nil {
		if err := checkReplay(e.replay); err != nil {
			return err
		}
	}
	if size := ownSize(raw, e.replay); size > maxExtras {
		return invalid("extras has %d bytes, the limit is %d", size, maxExtras)
	}
	if len(e.unfit) > 0 {
		return invalid("extras.headers: the value of %.64q is not a string, number or boolean", slices.Min(slices.Collect(maps.Keys(e.unfit))))
	}
	out.ephemeral = e.ephemeral != nil && *e.ephemeral
	in.echo = e.echo != nil && *e.echo
	if in.IdempotencyKey == nil {
		in.IdempotencyKey = e.idempotencyKey
	}
	if in.IdempotencyKey == nil {
		in.IdempotencyKey = e.snakeKey
	}
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return invalid("extras: %v", err)
	}
	if out.event.Extras = text.Bytes(); e.keyed {
		out.event.Extras = withoutKeys(out.event.Extras)
	}
	return nil
}

// withoutKeys leaves the members for an idempotency key out of extras, which are valid and compact. The
// key is between the publisher and the server, and is never delivered (protocol section 5.2). It
// returns nil if nothing is left.
func withoutKeys(text []byte) []byte {
	return having(text, func(name []byte) bool { return fieldOf(name, keyFields) < 0 })
}

// ownSize is how many bytes of extras are the publisher's. The mark of a replay comes on top with its
// name, so that whatever was published can be again.
func ownSize(raw, replay []byte) int {
	if replay == nil {
		return len(raw)
	}
	return len(raw) - len(`,"replay":`) - len(replay)
}

// checkReplay checks the mark of an event that was published before (extras.replay). It is
// the word of the publisher, as all extras are.
func checkReplay(raw []byte) error {
	var channel, id *string
	var serial, at bool
	var s scanner
	if s.begin(raw); s.peek() == '{' {
		s.enter()
		known := fields{names: []string{"channel", "stream_id", "serial", "published_at_ms"}}
		for name, more := s.member(true); more; name, more = s.member(false) {
			switch field := known.of(name); field {
			case "channel":
				s.maybeString(&channel, field)
			case "stream_id":
				s.maybeString(&id, field)
			case "serial":
				serial = s.wholeNumber(field, pusher.WantCount, fitsUint64)
			case "published_at_ms":
				at = s.wholeNumber(field, pusher.WantInteger, fitsInt64)
			default:
				s.skip()
			}
		}
	} else {
		s.other("", pusher.WantObject)
	}
	switch err := s.end(); {
	case err != nil:
		return invalid("extras.replay: %v", err)
	case len(raw) > maxReplay:
		return invalid("extras.replay has %d bytes, the limit is %d", len(raw), maxReplay)
	case channel == nil || id == nil || !serial || !at:
		return invalid("extras.replay must name channel, stream_id, serial and published_at_ms")
	}
	return nil
}
