package rest

import (
	"hash/maphash"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// input is an event as a publisher sends it (protocol section 2.3). Data, Tags and Extras are slices of the
// body, still encoded.
type input struct {
	Name     string
	Data     []byte
	Channels []string
	// moreChannels is the number of channels beyond the limit.
	moreChannels int
	Channel      string
	SocketID     string
	Info         string
	// Tags are the first tags, up to the limit, and moreTags has the hashes of the names of the others.
	Tags           map[string][]byte
	moreTags       map[uint64]struct{}
	Delta          *bool
	IdempotencyKey *string
	MessageID      string
	ConflationKey  *string
	Extras         []byte
	// echo delivers the event to the sender's socket as well.
	echo bool
}

// Parsing a publish takes little more memory than the size of the body, whatever is in it: elements beyond the
// limits of the app are parsed, because they may contain other errors, and counted, but not kept.

// decodeEvent parses the body of POST /apps/ID/events. It refuses invalid UTF-8, because clients rebuild frames
// from text.
func decodeEvent(body []byte, limits *app.Limits, in *input) error {
	if !utf8.Valid(body) {
		return errNotUTF8()
	}
	s := scanner{limits: limits}
	s.begin(body)
	s.event(in, "", "")
	return expected(s.end())
}

// batch is a parsed batch. events has at most as many as a batch may have.
type batch struct {
	events []input
	// count is the number of events in the body.
	count int
}

// decodeBatch parses the body of POST /apps/ID/batch_events.
func decodeBatch(body []byte, limits *app.Limits) (batch, error) {
	var b batch
	if !utf8.Valid(body) {
		return b, errNotUTF8()
	}
	s := scanner{limits: limits}
	s.begin(body)
	if s.peek() != '{' {
		s.other("", pusher.WantObject)
		return b, expected(s.end())
	}
	s.enter()
	known := fields{names: []string{"batch"}}
	for name, more := s.member(true); more; name, more = s.member(false) {
		if known.of(name) == "" {
			s.skip()
			continue
		}
		s.events(&b)
	}
	return b, expected(s.end())
}

func errNotUTF8() error { return invalid("the body is not UTF-8") }

func expected(err error) error {
	if err == nil {
		return nil
	}
	return invalid("the body is not the JSON that is expected: %v", pusher.InPlainWords(err))
}

// usualBatch is the size of most batches at most, for which memory is reserved.
const usualBatch = 10

// events reads the events of a batch.
func (s *scanner) events(into *batch) {
	if s.peek() != '[' {
		if s.other("batch", pusher.WantList) {
			*into = batch{}
		}
		return
	}
	s.enter()
	list, n, limit := into.events, 0, s.limits.MaxBatchSize
	if list == nil {
		list = make([]input, 0, min(usualBatch, limit))
	}
	var beyond input // reused for each event beyond the limit
	for more := s.element(true); more; more = s.element(false) {
		in := &beyond
		if n < limit {
			list = grown(list, n)
			in = &list[n]
		}
		s.event(in, "batch", "batch.")
		n++
	}
	if *into = (batch{list[:min(n, limit)], n}); n == 0 {
		into.events = nil
	}
}

var eventFields = []string{
	"name", "data", "channels", "channel", "socket_id", "info", "tags", "delta", "idempotency_key", "message_id", "conflation_key", "extras",
}

// event reads an event, over the previous content of in. member is the name of the event, and inside the path to
// its members, for error texts.
func (s *scanner) event(in *input, member, inside string) {
	if s.peek() != '{' {
		s.other(member, pusher.WantObject)
		return
	}
	within := s.within
	s.within = inside
	s.enter()
	known := fields{names: eventFields}
	for name, more := s.member(true); more; name, more = s.member(false) {
		switch field := known.of(name); field {
		case "name":
			s.string(&in.Name, field)
		case "data":
			in.Data = s.skip()
		case "channels":
			s.channels(in, field)
		case "channel":
			s.string(&in.Channel, field)
		case "socket_id":
			s.string(&in.SocketID, field)
		case "info":
			s.info(&in.Info, field)
		case "tags":
			s.tags(in, field)
		case "delta":
			s.maybeBool(&in.Delta, field)
		case "idempotency_key":
			s.maybeString(&in.IdempotencyKey, field)
		case "message_id":
			s.string(&in.MessageID, field)
		case "conflation_key":
			s.maybeString(&in.ConflationKey, field)
		case "extras":
			in.Extras = s.skip()
		default:
			s.skip()
		}
	}
	s.within = within
}

// channels reads the channels of an event.
func (s *scanner) channels(in *input, member string) {
	if s.peek() != '[' {
		if s.other(member, pusher.WantTexts) {
			in.Channels, in.moreChannels = nil, 0
		}
		return
	}
	s.enter()
	list, n, limit := in.Channels, 0, s.limits.MaxChannelsPerEvent
	for more := s.element(true); more; more = s.element(false) {
		var beyond string
		text := &beyond
		if n < limit {
			list = grown(list, n)
			text = &list[n]
		}
		s.string(text, member)
		n++
	}
	in.Channels = list[:min(n, limit)]
	if in.moreChannels = n - len(in.Channels); in.Channels == nil || n == 0 {
		in.Channels = []string{}
	}
}

// info reads a list of attributes: a string with commas, or an array as in queries, which is kept as such a
// string. After a value of a wrong type, no other error is reported.
func (s *scanner) info(into *string, member string) {
	before := s.mistaken
	s.mistaken = nil
	if s.peek() == '[' {
		var text []byte
		s.enter()
		for first, more := true, s.element(true); more; first, more = false, s.element(false) {
			if !first {
				text = append(text, ',')
			}
			if s.peek() == '"' {
				text = append(text, unescaped(s.quoted())...)
			} else {
				s.other(member, pusher.WantText)
			}
		}
		if s.mistaken == nil {
			*into = string(text)
		}
	} else {
		s.string(into, member)
	}
	if s.final == nil {
		s.final = s.mistaken
	}
	s.mistaken = before
}

// tags reads an object of any values, which are kept encoded.
func (s *scanner) tags(in *input, member string) {
	if s.peek() != '{' {
		if s.other(member, pusher.WantObject) {
			clear(in.Tags) // keeps the memory
			in.moreTags = nil
		}
		return
	}
	if in.Tags == nil {
		in.Tags = map[string][]byte{}
	}
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		in.tag(unescaped(name), s.skip())
	}
}

var nameSeed = maphash.MakeSeed()

// tag keeps the first tag of each name. Of tags beyond the limit it keeps hashes of their names, to count them.
func (in *input) tag(name, value []byte) {
	if _, again := in.Tags[string(name)]; again {
		return
	}
	if len(in.Tags) < maxTags {
		in.Tags[string(name)] = value
		return
	}
	if in.moreTags == nil {
		in.moreTags = map[uint64]struct{}{}
	}
	in.moreTags[maphash.Bytes(nameSeed, name)] = struct{}{}
}
