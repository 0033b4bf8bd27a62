package pusher

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"
)

// ChannelHistory is a request for a page of history over a WebSocket (protocol section 5.5).
type ChannelHistory struct {
	Channel string
	// Params are those of the history API, as texts, by their first names.
	Params url.Values
	// UntilAttach bounds the page by where the subscription began.
	UntilAttach bool
}

// historyParams are the names of each parameter.
var historyParams = [][]string{
	{"limit"}, {"direction"}, {"cursor"}, {"start_serial"}, {"end_serial"}, {"start_time_ms", "start"}, {"end_time_ms", "end"},
}

// ParseChannelHistory reads the data of a `channel_history` request. Parameters may stand in
// a member `params`. Their values are checked by whoever serves the page.
func ParseChannelHistory(data string) (h ChannelHistory, err error) {
	v, err := payload(data)
	if err != nil {
		return h, err
	}
	if h.Channel, err = channel(v.Get("channel")); err != nil {
		return h, err
	}
	if params := v.Get("params"); params.IsObject() {
		v = params
	} else if params.Type != gjson.Null {
		return h, errors.New("params is not an object")
	}
	h.Params = url.Values{}
	for _, names := range historyParams {
		for _, name := range names {
			switch value := v.Get(name); value.Type {
			case gjson.Null:
				continue
			case gjson.String:
				h.Params.Set(names[0], strings.Clone(value.Str))
			case gjson.Number:
				h.Params.Set(names[0], strings.Clone(value.Raw))
			default:
				return h, fmt.Errorf("%s is neither a number nor a text", name)
			}
			break
		}
	}
	for _, name := range []string{"until_attach", "untilAttach"} {
		switch value := v.Get(name); value.Type {
		case gjson.True:
			h.UntilAttach = true
		case gjson.False, gjson.Null:
		default:
			return h, fmt.Errorf("%s is not true or false", name)
		}
	}
	return h, nil
}
