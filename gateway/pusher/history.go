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
	// Params are parameters of the history API as text, by their first names.
	Params url.Values
	// UntilAttach ends the page where the subscription began.
	UntilAttach bool
}

// historyParams are the parameters with their alternative names.
var historyParams = [][]string{
	{"limit"}, {"direction"}, {"cursor"}, {"start_serial"}, {"end_serial"}, {"start_time_ms", "start"}, {"end_time_ms", "end"},
}

// ParseChannelHistory parses the data of a `channel_history` request. The parameters and the channel may also be
// in a member `params`, but no parameter may have two values. The values are checked when the page is served.
func ParseChannelHistory(data string) (h ChannelHistory, err error) {
	v, err := payload(data)
	if err != nil {
		return h, err
	}
	params := v.Get("params")
	if params.Type != gjson.Null && !params.IsObject() {
		return h, errors.New("params is not an object")
	}
	from := []gjson.Result{params, v}
	named, _, err := onlyOne(from, []string{"channel"})
	if err != nil {
		return h, err
	}
	if h.Channel, err = channel(named); err != nil {
		return h, err
	}
	h.Params = url.Values{}
	for _, names := range historyParams {
		value, name, err := onlyOne(from, names)
		switch {
		case err != nil:
			return h, err
		case value.Type == gjson.String:
			h.Params.Set(names[0], strings.Clone(value.Str))
		case value.Type == gjson.Number:
			h.Params.Set(names[0], strings.Clone(Whole(value.Raw)))
		case value.Type != gjson.Null:
			return h, fmt.Errorf("%s is neither a number nor a text", name)
		}
	}
	until, name, err := onlyOne(from, []string{"until_attach", "untilAttach"})
	switch {
	case err != nil:
		return h, err
	case until.Type != gjson.True && until.Type != gjson.False && until.Type != gjson.Null:
		return h, fmt.Errorf("%s is not true or false", name)
	}
	h.UntilAttach = until.Type == gjson.True
	return h, nil
}

// onlyOne returns the value that any of the names has in any of the objects, and that name; null if there is
// none. Two different values are an error.
func onlyOne(objects []gjson.Result, names []string) (value gjson.Result, name string, err error) {
	for _, object := range objects {
		for _, n := range names {
			switch v := object.Get(n); {
			case v.Type == gjson.Null:
			case value.Type == gjson.Null:
				value, name = v, n
			case Whole(v.Raw) != Whole(value.Raw):
				return value, name, fmt.Errorf("%s has two values", name)
			}
		}
	}
	return value, name, nil
}
