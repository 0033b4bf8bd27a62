package pusher

import (
	"strconv"
	"strings"
)

// placeMark begins the message id of a success frame with serial 0, which means that the channel holds no event.
// Offsets of a log may begin anywhere, so 0 does not tell at which offset the subscription begins, but clients
// send the id back together with the serial. No event has serial 0, so this id is never taken for that of an
// event.
const placeMark = "at:"

// Begin sets the place at which the subscription begins. told is the serial for the client, which is 0 for an
// empty channel, and place is the exact offset, which is then put into the id.
func (c *Control) Begin(stream string, told, place uint64) {
	c.StreamID, c.Serial = stream, told
	if told != place {
		c.MessageID = placeMark + strconv.FormatUint(place, 10) + ":" + c.MessageID
	}
}

// ExactPlace returns the offset that a serial and the message id of its frame stand for. marked reports whether
// the id contains it.
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
