package pusher

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/app"
)

// DeltaRequest is the member `delta` of a subscription.
type DeltaRequest struct {
	// Set is false if the subscription inherits the setting of the socket.
	Set bool
	On  bool
	// Algorithm is AlgorithmUnset if the server may choose.
	Algorithm app.Algorithm
}

// Subscribe is the payload of a subscribe request. Its strings are slices of the message, like
// [ClientFrame.Data], except for Channel.
type Subscribe struct {
	// Channel is not checked. It is a copy that may be kept.
	Channel string
	Auth    string
	// ChannelData is covered by the signature byte for byte.
	ChannelData    string
	HasChannelData bool
	// Expression is set if there is a member `expression`, a kind of filter that the server does not have.
	Expression bool
	Delta      DeltaRequest
	// Resumes is set if the position of the subscription follows in a resume request.
	Resumes bool
	// Filter is the member `filter`, else `tags_filter` (protocol section 4.2), and Rewind the member `rewind`
	// (5.4). They are JSON values as sent, not validated further, "" if missing or null.
	Filter, Rewind string
}

// ParseSubscribe parses the data of a subscribe request. With an error it returns the channel, as far as it
// could be read, so that the error can be answered there.
func ParseSubscribe(data string) (Subscribe, error) {
	v, err := payload(data)
	if err != nil {
		return Subscribe{}, err
	}
	var name, auth, channelData, delta, rewind, filter, tagsFilter, expression, resumes gjson.Result
	members(v, member{"channel", &name}, member{"auth", &auth}, member{"channel_data", &channelData}, member{"delta", &delta},
		member{"rewind", &rewind}, member{"filter", &filter}, member{"tags_filter", &tagsFilter}, member{"expression", &expression}, member{"resumes", &resumes})
	var s Subscribe
	if name.Type != gjson.String || name.Str != "" { // an empty name is refused later, like other invalid names
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
	// Names are kept for long, so a copy is made that does not keep the message in memory.
	return strings.Clone(name), err
}

// parseDelta parses all forms of the table in protocol section 3.3.
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

// ParseAlgorithm returns the delta algorithm with a name; case is ignored. It returns AlgorithmUnset for unknown
// names.
func ParseAlgorithm(name string) app.Algorithm {
	switch strings.ToLower(name) {
	case "fossil":
		return app.Fossil
	case "xdelta3", "vcdiff":
		return app.VCDIFF
	}
	return app.AlgorithmUnset
}

// ParseUnsubscribe returns the channel of an unsubscribe request.
func ParseUnsubscribe(data string) (string, error) { return parseChannel(data) }

// ParseDeltaSyncError returns the channel whose deltas a client can no longer decode.
func ParseDeltaSyncError(data string) (string, error) { return parseChannel(data) }

func parseChannel(data string) (string, error) {
	v, err := payload(data)
	if err != nil {
		return "", err
	}
	return channel(v.Get("channel"))
}

// maxAlgorithms bounds the list of a client. Only two algorithms exist.
const maxAlgorithms = 16

// ParseEnableDelta returns the known algorithms that a client lists, in its order. nil means that the client
// lists none and accepts any. An empty list means that it lists only unknown ones.
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
