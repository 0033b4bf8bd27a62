package configs

import (
	"log/slog"
	"net/url"
)

const redacted = "[redacted]"

// Secret is a credential that prints itself redacted. An empty one prints as empty,
// so that one can see that it is not set.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

func (s Secret) GoString() string             { return s.String() }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// redactURL hides the password of a URL.
func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return redacted
	}
	if u.User == nil {
		return text
	}
	if _, has := u.User.Password(); has {
		return u.Redacted()
	}
	// A user without a password is a token.
	u.User = url.User("xxxxx")
	return u.String()
}
