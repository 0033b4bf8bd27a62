package pusher

import (
	"math"
	"strconv"
	"strings"
)

// Whole returns a JSON number as digits, if it is a whole number from -(2^53-1) to 2^53-1 that is written with a
// fraction or an exponent, such as 41.0 and 1e3; some languages write all numbers so. Any other text is returned
// unchanged.
func Whole(number string) string {
	if !strings.ContainsAny(number, ".eE") {
		return number
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxSerial {
		return number
	}
	return strconv.FormatInt(int64(f), 10)
}
