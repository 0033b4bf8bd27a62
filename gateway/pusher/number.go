package pusher

import (
	"math"
	"strconv"
	"strings"
)

// Whole is a number of JSON as digits, if it is a whole one from -(2^53-1) to 2^53-1 that is written
// with a fraction or an exponent: 41.0 and 1e3 are whole numbers as well, and some languages write all numbers
// so. Any other text stays as it is.
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
