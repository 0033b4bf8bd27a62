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

// ParseChannelHistory reads the data of a `channel_history` request. Parameters and the channel may
// stand in a member `params` as well, but none in two places with two values. Their values are checked by
// whoever serves the page.
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

// onlyOne is the value that one of the names has in one of the objects, and the name; null if
// there is none. Another value beside it is an error.
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
