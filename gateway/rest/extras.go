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
	// maxReplay bounds extras.replay, in bytes.
	maxReplay = 2048
)

// extras are the members of extras that have a meaning here (protocol section 5.8).
type extras struct {
	// unfit are the headers whose value is not a string, number or boolean.
	unfit          map[string]struct{}
	ephemeral      *bool
	echo           *bool
	idempotencyKey *string
	snakeKey       *string
	// keyed is set if there is an idempotency key, whatever its value.
	keyed bool
	// replay names the original of an event that is published again; nil if it is missing.
	replay []byte
}

var extrasFields = []string{"headers", "ephemeral", "echo", "idempotencyKey", "idempotency_key", "replay"}

// keyFields are the names of an idempotency key.
var keyFields = []string{"idempotencyKey", "idempotency_key"}

// readExtras parses extras. raw is JSON.
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

// headers reads an object and collects the names whose values are unfit.
func (s *scanner) headers(unfit *map[string]struct{}, member string) {
	if s.peek() != '{' {
		if s.other(member, pusher.WantObject) {
			*unfit = nil
		}
		return
	}
	// Extras that are too large are refused anyway, so their headers need not be kept.
	keep := len(s.text) <= maxExtras+maxReplay
	had := map[uint64]struct{}{} // hashes of the names; of equal names the first counts
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

// acceptExtras checks the members that have a meaning here. All members are passed on unchanged, except for an
// idempotency key.
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

// withoutKeys removes the idempotency key from extras, which must be valid and compact. The key is between the
// publisher and the server, and is never delivered (protocol section 5.2). It returns nil if nothing is left.
func withoutKeys(text []byte) []byte {
	return having(text, func(name []byte) bool { return fieldOf(name, keyFields) < 0 })
}

// ownSize returns the size of extras without the member replay, so that any published event can be published
// again.
func ownSize(raw, replay []byte) int {
	if replay == nil {
		return len(raw)
	}
	return len(raw) - len(`,"replay":`) - len(replay)
}

// checkReplay checks extras.replay, which names the original of an event that is published again. The publisher
// vouches for it, as for all extras.
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
