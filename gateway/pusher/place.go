package pusher

import (
	"strconv"
	"strings"
)

// placeMark begins the message id of a success frame that has serial 0 because its channel
// holds no event. Numbers of a log may begin anywhere, so 0 alone does not say behind which of
// them the subscription begins, but clients return the id with the serial. No event has serial
// 0, so no event's id is taken for such a one.
const placeMark = "at:"

// Begin says in a success frame where the subscription begins: the serial that the client is
// told, which is 0 for an empty channel, and the exact place, which the id has then.
func (c *Control) Begin(stream string, told, place uint64) {
	c.StreamID, c.Serial = stream, told
	if told != place {
		c.MessageID = placeMark + strconv.FormatUint(place, 10) + ":" + c.MessageID
	}
}

// ExactPlace is the place that a serial and the message id of its frame stand for, and whether
// the id says it.
func ExactPlace(serial uint64, id string) (place uint64, marked bool) {
	digits, isMark := strings.CutPrefix(id, placeMark)
	digits, _, isWhole := strings.Cut(digits, ":")
	if serial != 0 || !isMark || !isWhole {
		return serial, false
	}
	place, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || place > maxSerial {
		return serial, false
	}
	return place, true
}
