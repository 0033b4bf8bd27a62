package kv

import "strings"

// Matches reports whether a key fits a pattern of a [Table].
func Matches(pattern, key string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, ".")
		if p == ">" {
			return true
		}
		k, restK, moreK := strings.Cut(key, ".")
		if p != "*" && p != k || moreP != moreK {
			return false
		}
		if !moreP {
			return true
		}
		pattern, key = restP, restK
	}
}

// ValidPattern reports whether a text can be a pattern of a [Table].
func ValidPattern(pattern string) bool {
	words := strings.Split(pattern, ".")
	for i, w := range words {
		switch {
		case w == "*":
		case w == ">":
			if i != len(words)-1 {
				return false
			}
		case !validKey(w):
			return false
		}
	}
	return true
}

// ValidKey reports whether a text can be a key as it is.
func ValidKey(key string) bool { return validKey(key) }
