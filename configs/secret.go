package configs

import (
	"log/slog"
	"net/url"
	"strings"
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

// redactURL hides the password of a URL, or of a host and port without a scheme.
func redactURL(text string) string {
	const added = "nats://"
	whole, has := text, strings.Contains(text, "://")
	if !has {
		whole = added + text
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil:
		return redacted
	case u.User == nil:
		return text
	}
	if _, password := u.User.Password(); !password {
		// A user without a password is a token.
		u.User = url.User("xxxxx")
	}
	shown := u.Redacted()
	if !has {
		shown = strings.TrimPrefix(shown, added)
	}
	return shown
}
