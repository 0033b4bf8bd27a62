package pusher

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// reserved are the prefixes of the protocol's own events (protocol section 1.6).
var reserved = [...]string{"pusher:", "pusher_internal:", "sockudo:", "sockudo_internal:"}

// CheckEventName checks the name of an event of at most max bytes.
func CheckEventName(name string, max int) error {
	switch {
	case name == "":
		return fmt.Errorf("event name is empty")
	case len(name) > max:
		return fmt.Errorf("event name has %d bytes, the limit is %d", len(name), max)
	case !utf8.ValidString(name):
		return fmt.Errorf("event name is not UTF-8")
	}
	for _, p := range reserved {
		if strings.HasPrefix(name, p) {
			return fmt.Errorf("event names that start with %s are reserved", p)
		}
	}
	return nil
}

// CheckSocketID checks the form of a socket id: digits, a dot, digits.
func CheckSocketID(id string) error {
	a, b, ok := strings.Cut(id, ".")
	if len(id) > 64 || !ok || !digits(a) || !digits(b) {
		return fmt.Errorf("socket id %.64q is not two numbers with a dot between them", id)
	}
	return nil
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
