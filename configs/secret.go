package configs

import (
	"net/url"
	"strings"

	credential "github.com/sluicehq/sluice/broker/secret"
)

// Secret is a credential that prints itself redacted.
type Secret = credential.Secret

const redacted = credential.Redacted

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
