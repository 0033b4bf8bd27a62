package rest

import (
	"strings"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// input is an event as a publisher sends it (protocol section 2.3). Data, Tags and Extras are
// views of the body, as they are written there.
type input struct {
	Name           string
	Data           []byte
	Channels       []string
	Channel        string
	SocketID       string
	Info           string
	Tags           map[string][]byte
	Delta          *bool
	IdempotencyKey *string
	MessageID      string
	ConflationKey  *string
	Extras         []byte
	// echo lets the socket of the sender have the event, too.
	echo bool
}

// decodeEvent reads the body of POST /apps/ID/events. Clients rebuild frames from text, so what
// is not UTF-8 is refused.
func decodeEvent(body []byte, in *input) error {
	if !utf8.Valid(body) {
		return errNotUTF8()
	}
	var s scanner
	s.begin(body)
	s.event(in, "")
	return expected(s.end())
}

// decodeBatch reads the body of POST /apps/ID/batch_events.
func decodeBatch(body []byte) ([]input, error) {
	if !utf8.Valid(body) {
		return nil, errNotUTF8()
	}
	var s scanner
	s.begin(body)
	var batch []input
	if s.peek() != '{' {
		s.other("", pusher.WantObject)
		return batch, expected(s.end())
	}
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		if fieldOf(name, []string{"batch"}) == "" {
			s.skip()
			continue
		}
		s.events(&batch)
	}
	return batch, expected(s.end())
}

func errNotUTF8() error { return invalid("the body is not UTF-8") }

func expected(err error) error {
	if err == nil {
		return nil
	}
	return invalid("the body is not the JSON that is expected: %v", pusher.InPlainWords(err))
}

// usualBatch is how many events most batches have at most.
const usualBatch = 10

// events reads the events of a batch.
func (s *scanner) events(into *[]input) {
	if s.peek() != '[' {
		if s.other("batch", pusher.WantList) {
			*into = nil
		}
		return
	}
	s.enter()
	list, n := *into, 0
	if list == nil {
		list = make([]input, 0, usualBatch)
	}
	for more := s.element(true); more; more = s.element(false) {
		list = grown(list, n)
		s.event(&list[n], "batch")
		n++
	}
	if *into = list[:n]; n == 0 {
		*into = nil
	}
}

var eventFields = []string{
	"name", "data", "channels", "channel", "socket_id", "info", "tags", "delta", "idempotency_key", "message_id", "conflation_key", "extras",
}

// event reads an event, over what is there of it.
func (s *scanner) event(in *input, member string) {
	if s.peek() != '{' {
		s.other(member, pusher.WantObject)
		return
	}
	within := s.within
	if member != "" {
		s.within = member + "."
	}
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		switch field := fieldOf(name, eventFields); field {
		case "name":
			s.string(&in.Name, field)
		case "data":
			in.Data = s.skip()
		case "channels":
			s.strings(&in.Channels, field)
		case "channel":
			s.string(&in.Channel, field)
		case "socket_id":
			s.string(&in.SocketID, field)
		case "info":
			s.info(&in.Info, field)
		case "tags":
			s.values(&in.Tags, field)
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

// info reads a list of attributes: a text with commas, or a list as it is in queries. After one
// of a wrong type nothing else is a mistake.
func (s *scanner) info(into *string, member string) {
	before := s.mistaken
	s.mistaken = nil
	if s.peek() == '[' {
		var list []string
		if s.strings(&list, member); s.mistaken == nil {
			*into = strings.Join(list, ",")
		}
	} else {
		s.string(into, member)
	}
	if s.final == nil {
		s.final = s.mistaken
	}
	s.mistaken = before
}

// values reads an object of any values, as they are written.
func (s *scanner) values(into *map[string][]byte, member string) {
	if s.peek() != '{' {
		if s.other(member, pusher.WantObject) {
			*into = nil
		}
		return
	}
	if *into == nil {
		*into = map[string][]byte{}
	}
	s.enter()
	for name, more := s.member(true); more; name, more = s.member(false) {
		(*into)[plainText(name)] = s.skip()
	}
}
