package pusher

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxUserID bounds the id of a user, in characters (protocol section 1.9).
const maxUserID = 128

// CheckUserID checks the id of a user who signs in, and with it what every door by which
// that user is reached must take: the channel of the user, the path of the HTTP API and
// watchlists. Ids have 1 to 128 characters of any alphabet, without control characters.
// `.` and `..` are none, because URLs lose them on their way.
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
		// A replacement character is what is left of text that was broken before
		// it came here; different ids would become the same.
		if unicode.IsControl(r) || r == utf8.RuneError {
			return fmt.Errorf("the user id has the character %U, which is not allowed", r)
		}
	}
	return nil
}
