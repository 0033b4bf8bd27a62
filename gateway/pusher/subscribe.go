package pusher

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/app"
)

// DeltaRequest is what a subscription says about delta compression.
type DeltaRequest struct {
	// Set is false when the subscription inherits the socket's setting.
	Set bool
	On  bool
	// Algorithm is unset when the server may choose.
	Algorithm app.Algorithm
}

// Subscribe is the payload of a subscribe request. Its parts are views of the message, as
// [ClientFrame.Data] is, except for the channel.
type Subscribe struct {
	// Channel is not checked. It may be kept.
	Channel string
	Auth    string
	// ChannelData is signed byte for byte as it is here.
	ChannelData    string
	HasChannelData bool
	// Expression says that there is a member `expression`, a filter of a kind that is not
	// offered.
	Expression bool
	Delta      DeltaRequest
	// Resumes says that the position of the subscription comes in a resume behind it.
	Resumes bool
	// Filter is the member `filter`, else `tags_filter` (protocol section 4.2),
	// and Rewind the member `rewind` (5.4): JSON values as the client sent them,
	// not checked further, "" if missing or null.
	Filter, Rewind string
}

// ParseSubscribe reads the data of a subscribe request. With an error it returns the
// channel as far as that could be read, for there somebody waits for the answer.
func ParseSubscribe(data string) (Subscribe, error) {
	v, err := payload(data)
	if err != nil {
		return Subscribe{}, err
	}
	var name, auth, channelData, delta, rewind, filter, tagsFilter, expression, resumes gjson.Result
	members(v, member{"channel", &name}, member{"auth", &auth}, member{"channel_data", &channelData}, member{"delta", &delta},
		member{"rewind", &rewind}, member{"filter", &filter}, member{"tags_filter", &tagsFilter}, member{"expression", &expression}, member{"resumes", &resumes})
	var s Subscribe
	if name.Type != gjson.String || name.Str != "" { // An empty name is there, and is refused like others that are none.
		if s.Channel, err = channel(name); err != nil {
			return Subscribe{}, err
		}
	}
	if s.Auth, err = text(auth, "auth"); err != nil {
		return Subscribe{Channel: s.Channel}, err
	}
	if s.ChannelData, err = text(channelData, "channel_data"); err != nil {
		return Subscribe{Channel: s.Channel}, err
	}
	s.HasChannelData = channelData.Type == gjson.String
	s.Delta = parseDelta(delta)
	s.Resumes = resumes.Type == gjson.True
	s.Rewind = raw(rewind)
	s.Filter = cmp.Or(raw(filter), raw(tagsFilter))
	s.Expression = raw(expression) != ""
	return s, nil
}

func channel(v gjson.Result) (string, error) {
	name, err := text(v, "channel")
	if err == nil && name == "" {
		err = errors.New("channel is missing")
	}
	// Names are kept for long, and must not keep the message that they came in.
	return strings.Clone(name), err
}

// parseDelta reads all forms of the table in protocol section 3.3.
func parseDelta(v gjson.Result) DeltaRequest {
	switch v.Type {
	case gjson.True:
		return DeltaRequest{Set: true, On: true}
	case gjson.False:
		return DeltaRequest{Set: true}
	case gjson.String:
		switch strings.ToLower(v.Str) {
		case "disabled", "false", "none":
			return DeltaRequest{Set: true}
		}
		return DeltaRequest{Set: true, On: true, Algorithm: ParseAlgorithm(v.Str)}
	}
	if !v.IsObject() {
		return DeltaRequest{}
	}
	algorithm := v.Get("algorithm")
	known := app.AlgorithmUnset
	if algorithm.Type == gjson.String {
		known = ParseAlgorithm(algorithm.Str)
	}
	switch enabled := v.Get("enabled"); enabled.Type {
	case gjson.True, gjson.False:
		return DeltaRequest{Set: true, On: enabled.Bool(), Algorithm: known}
	}
	if known != app.AlgorithmUnset {
		return DeltaRequest{Set: true, On: true, Algorithm: known}
	}
	return DeltaRequest{}
}

// ParseAlgorithm reads the name of a delta algorithm in any case, and gives
// AlgorithmUnset for names that it does not know.
func ParseAlgorithm(name string) app.Algorithm {
	switch strings.ToLower(name) {
	case "fossil":
		return app.Fossil
	case "xdelta3", "vcdiff":
		return app.VCDIFF
	}
	return app.AlgorithmUnset
}

// ParseUnsubscribe reads the channel of an unsubscribe request.
func ParseUnsubscribe(data string) (string, error) { return parseChannel(data) }

// ParseDeltaSyncError reads the channel that a client cannot decode any more.
func ParseDeltaSyncError(data string) (string, error) { return parseChannel(data) }

func parseChannel(data string) (string, error) {
	v, err := payload(data)
	if err != nil {
		return "", err
	}
	return channel(v.Get("channel"))
}

// maxAlgorithms bounds the list of a client; there are two.
const maxAlgorithms = 16

// ParseEnableDelta reads the algorithms that a client lists, in its order. nil
// means that it lists none and takes any; an empty list that it knows none of
// ours.
func ParseEnableDelta(data string) ([]app.Algorithm, error) {
	v, err := payload(data)
	if err != nil {
		return nil, err
	}
	list := v.Get("algorithms")
	if list.Type == gjson.Null {
		return nil, nil
	}
	if !list.IsArray() {
		return nil, errors.New("algorithms is not a list")
	}
	names, n := elements(list, maxAlgorithms)
	if n > maxAlgorithms {
		return nil, fmt.Errorf("algorithms has %d entries, the limit is %d", n, maxAlgorithms)
	}
	out := []app.Algorithm{}
	for _, n := range names {
		if a := ParseAlgorithm(n.Str); a != app.AlgorithmUnset {
			out = append(out, a)
		}
	}
	return out, nil
}
