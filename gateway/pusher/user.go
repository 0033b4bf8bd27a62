package pusher

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxUserID is the maximum length of a user id in characters (protocol section 1.9).
const maxUserID = 128

// CheckUserID checks the id of a user who signs in, so that the id is valid everywhere: in the name of the
// user's channel, the path of the HTTP API and watchlists. An id has 1 to 128 characters of any script, without
// control characters. `.` and `..` are refused, because URL normalization removes them.
func CheckUserID(id string) error {
	n := utf8.RuneCountInString(id)
	switch {
	case !utf8.ValidString(id):
		return fmt.Errorf("the user id is not UTF-8")
	case n == 0:
		return fmt.Errorf("the user id is empty")
	case n > maxUserID:
		return fmt.Errorf("the user id has %d characters, the limit is %d", n, maxUserID)
	case id == "." || id == "..":
		return fmt.Errorf("the user id is %q, which cannot stand in a URL", id)
	}
	for _, r := range id {
		// A replacement character stands for text that was invalid before; different ids would become equal.
		if unicode.IsControl(r) || r == utf8.RuneError {
			return fmt.Errorf("the user id has the character %U, which is not allowed", r)
		}
	}
	return nil
}
