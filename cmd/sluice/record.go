package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	httpapi "github.com/sluicehq/sluice/gateway/rest"
)

// record is one line of an export: an event with its position. Data is always text, because the log delivers
// nothing else.
type record struct {
	Channel       string            `json:"channel"`
	StreamID      string            `json:"stream_id"`
	Serial        uint64            `json:"serial"`
	Published     int64             `json:"published_at_ms"`
	MessageID     string            `json:"message_id"`
	Event         string            `json:"event"`
	Data          *string           `json:"data"`
	Tags          map[string]string `json:"tags,omitempty"`
	ConflationKey *string           `json:"conflation_key,omitempty"`
	Delta         *bool             `json:"delta,omitempty"`
	UserID        string            `json:"user_id,omitempty"`
	Extras        json.RawMessage   `json:"extras,omitempty"`
	// Skipped is why the event cannot be delivered; it then has no data.
	Skipped string `json:"skipped,omitempty"`
}

// recordOf converts an event of the history.
func recordOf(channel string, i *client.HistoryItem) record {
	m := gjson.Parse(string(i.Message))
	data := m.Get("data").String()
	r := record{
		Channel: channel, StreamID: i.StreamID, Serial: i.Serial, Published: i.PublishedAtMS, MessageID: i.MessageID, Event: i.EventName, Data: &data,
		ConflationKey: i.ConflationKey, Delta: i.Delta, UserID: m.Get("user_id").String(), Skipped: i.Skipped,
	}
	m.Get("tags").ForEach(func(key, value gjson.Result) bool {
		if r.Tags == nil {
			r.Tags = map[string]string{}
		}
		r.Tags[key.String()] = value.String()
		return true
	})
	if raw := m.Get("extras").Raw; raw != "" {
		r.Extras = json.RawMessage(raw)
	}
	return r
}

// line writes a record as a line, without unnecessary escapes.
func (r *record) line(to io.Writer) error {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// errCutOff is the error of an incomplete line.
var errCutOff = errors.New("it is cut off")

// parseRecord parses a line, and refuses what no export has written.
func parseRecord(line []byte) (r record, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	err = dec.Decode(&r)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return r, errCutOff // perhaps in the middle of a character
	}
	if !utf8.Valid(line) {
		return r, errors.New("it is not UTF-8")
	}
	if err != nil {
		return r, fmt.Errorf("it is not a line of an export: %w", pusher.InPlainWords(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("something follows on the event")
	}
	missing := ""
	switch {
	case r.Channel == "":
		missing = "channel"
	case r.StreamID == "":
		missing = "stream_id"
	case r.Serial == 0:
		missing = "serial"
	case r.MessageID == "":
		missing = "message_id"
	case r.Skipped == "" && r.Event == "":
		missing = "event"
	case r.Data == nil:
		missing = "data"
	}
	if missing != "" {
		return r, fmt.Errorf("%s is missing", missing)
	}
	if len(r.Extras) > 0 && !gjson.ParseBytes(r.Extras).IsObject() {
		return r, errors.New("extras is not an object")
	}
	return r, nil
}

// maxChannel is longer than any app allows, in bytes.
const maxChannel = 4096

// check returns why every server would refuse the event, whatever the limits of the app are.
func (r *record) check() error {
	if err := pusher.CheckChannel(r.Channel, maxChannel); err != nil || r.Skipped != "" {
		return err
	}
	p, err := r.publish(r.Channel, r.MessageID)
	if err != nil {
		return err
	}
	p.IdempotencyKey = "import" // a placeholder for the key with which it is published
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return err
	}
	return httpapi.CheckEvent(body.Bytes())
}

// publish returns the event as it is published again, with an id.
func (r *record) publish(channel, id string) (client.Publish, error) {
	p := client.Publish{
		Name: r.Event, Channel: channel, Data: *r.Data, Tags: r.Tags, Delta: r.Delta, ConflationKey: r.ConflationKey, MessageID: id, IdempotencyKey: id,
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(mark{r.Channel, r.StreamID, r.Serial, r.Published, r.UserID}); err != nil {
		return p, err
	}
	p.Extras = marked(r.Extras, bytes.TrimSpace(text.Bytes()))
	return p, nil
}

// marked returns extras, which are an object or empty, with the mark in place of an earlier one. All other bytes
// and their order are kept.
func marked(extras, mark []byte) []byte {
	out := []byte{'{'}
	gjson.ParseBytes(extras).ForEach(func(name, value gjson.Result) bool {
		if !strings.EqualFold(name.String(), "replay") { // the server ignores case as well
			out = append(append(append(append(out, name.Raw...), ':'), value.Raw...), ',')
		}
		return true
	})
	return append(append(append(out, `"replay":`...), mark...), '}')
}
