package pusher

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"
)

// ClientFrame is a message of a client.
type ClientFrame struct {
	// Event is not empty. It may be kept, like the channel.
	Event   string
	Channel string
	// Data is one JSON value, "" if the member is missing or null. It is a view of the
	// message, valid as long as that is not changed. What the readers of this package make of
	// it says which of its parts are views too.
	Data string
	// Echo is what the member `extras.echo` of a client event says, nil if it says nothing
	// (protocol section 5.8).
	Echo *bool
	// Ephemeral is what `extras.ephemeral` of a client event says.
	Ephemeral bool
}

// MaxDepth is how deep objects and arrays may be nested in what this package
// reads. Readers of JSON recurse; without a bound a message of nothing but
// brackets would cost a hundred times its size in stack.
const MaxDepth = 128

// ErrTooDeep is returned for JSON that is nested deeper than [MaxDepth].
var ErrTooDeep = fmt.Errorf("the JSON is nested deeper than %d", MaxDepth)

var (
	errNotUTF8   = errors.New("the message is not UTF-8")
	errNotJSON   = errors.New("the message is not JSON")
	errNotObject = errors.New("the message is not a JSON object")
)

// ParseClientFrame takes a message apart (protocol section 1.2). b belongs to the caller, who
// must not change it while the data of the frame is in use: of a large message, which may well
// be refused, copies cost more than reading it. With an error the frame has the event and the channel that it is about, as far as these can be
// read, for there somebody may wait for an answer.
func ParseClientFrame(b []byte) (ClientFrame, error) {
	text := unsafe.String(unsafe.SliceData(b), len(b))
	root, err := object(text)
	if err == ErrTooDeep {
		return about(gjson.Parse(text)), err
	}
	if err != nil {
		return ClientFrame{}, err
	}
	var event, channel, data, extras gjson.Result
	members(root, member{"event", &event}, member{"channel", &channel}, member{"data", &data}, member{"extras", &extras})
	if event.Type != gjson.String || event.Str == "" {
		return ClientFrame{}, errors.New("event is missing or not a string")
	}
	f := ClientFrame{Event: strings.Clone(event.Str)}
	switch channel.Type {
	case gjson.String:
		f.Channel = strings.Clone(channel.Str)
	case gjson.Null:
	default:
		return about(root), errors.New("channel is not a string")
	}
	f.Data = raw(data)
	if echo := extras.Get("echo"); extras.IsObject() && (echo.Type == gjson.True || echo.Type == gjson.False) {
		on := echo.Bool()
		f.Echo = &on
	}
	f.Ephemeral = extras.IsObject() && extras.Get("ephemeral").Type == gjson.True
	return f, nil
}

// about reads of a frame that is not taken what event and channel it is about.
func about(root gjson.Result) ClientFrame {
	channel := root.Get("data.channel")
	if channel.Type != gjson.String {
		channel = root.Get("channel")
	}
	return ClientFrame{Event: strings.Clone(root.Get("event").Str), Channel: strings.Clone(channel.Str)}
}

// CheckJSON checks that a text is one JSON value (RFC 8259), is UTF-8, and is not
// nested deeper than [MaxDepth].
func CheckJSON(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errNotUTF8
	case tooDeep(text):
		return ErrTooDeep
	case !gjson.Valid(text):
		return errNotJSON
	}
	return nil
}

// tooDeep may be asked about any text; for what is not JSON the answer means
// nothing. Most texts have too few brackets to be deep, which is quick to see.
func tooDeep(text string) bool {
	if strings.Count(text, "[")+strings.Count(text, "{") <= MaxDepth {
		return false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := stringEnd(text[i+1:])
			if n < 0 {
				return false
			}
			i += 1 + n
		case '[', '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}

// stringEnd is the place of the quote that ends a string, -1 if there is none. rest is
// what is behind the quote that begins it. Looking for quotes and then at what is before
// them is several times as quick as looking at each byte.
func stringEnd(rest string) int {
	for i := 0; ; i++ {
		n := strings.IndexByte(rest[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for escapes < i && rest[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// object checks that a text is one JSON object.
func object(text string) (gjson.Result, error) {
	if err := CheckJSON(text); err != nil {
		return gjson.Result{}, err
	}
	root := gjson.Parse(text)
	if !root.IsObject() {
		return gjson.Result{}, errNotObject
	}
	return root, nil
}

// payload reads the data of a protocol event, which may be an object or a string
// that contains one. Missing data is an empty object. The data is that of a [ClientFrame]
// and was checked with the message.
func payload(data string) (gjson.Result, error) {
	if data == "" {
		return gjson.Parse("{}"), nil
	}
	v := gjson.Parse(data)
	switch {
	case v.Type == gjson.Null, v.Type == gjson.String && v.Str == "":
		return gjson.Parse("{}"), nil
	case v.Type == gjson.String:
		inner, err := object(v.Str)
		if err != nil {
			return inner, errors.New("data is a string that holds no JSON object")
		}
		return inner, nil
	case !v.IsObject():
		return v, errors.New("data is neither an object nor a string")
	}
	return v, nil
}

// member is a member of an object that somebody wants to read.
type member struct {
	name  string
	value *gjson.Result
}

// members reads members of an object in one pass, which counts where the values are large.
// Of equal names the first counts; what is missing is left as it is.
func members(v gjson.Result, wanted ...member) {
	v.ForEach(func(name, value gjson.Result) bool {
		for _, m := range wanted {
			if m.name == name.Str && !m.value.Exists() {
				*m.value = value
			}
		}
		return true
	})
}

// elements are the first elements of a list, limit of them at most, and how many there are. What
// gjson makes of all of them is up to forty times as large as their text.
func elements(list gjson.Result, limit int) (first []gjson.Result, n int) {
	list.ForEach(func(_, e gjson.Result) bool {
		if n++; n <= limit {
			first = append(first, e)
		}
		return true
	})
	return first, n
}

// raw is a value whose meaning is none of this package's business, "" if it is missing or
// null.
func raw(v gjson.Result) string {
	if v.Type == gjson.Null {
		return ""
	}
	return v.Raw
}

// text is the value of a member that must be a string if it is there.
func text(m gjson.Result, name string) (string, error) {
	switch m.Type {
	case gjson.String:
		return m.Str, nil
	case gjson.Null:
		return "", nil
	default:
		return "", fmt.Errorf("%s is not a string", name)
	}
}
