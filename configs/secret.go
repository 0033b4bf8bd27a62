package configs

import (
	"net/url"
	"strings"

	credential "github.com/sluicehq/sluice/broker/secret"
)

// Secret is a credential that prints itself redacted.
type Secret = credential.Secret

const redacted = credential.Redacted

// hiddenWord replaces the password of a URL, as in [url.URL.Redacted].
const hiddenWord = "xxxxx"

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
		u.User = url.User(hiddenWord)
	}
	shown := u.Redacted()
	if !has {
		shown = strings.TrimPrefix(shown, added)
	}
	return shown
}

// unfilled reports whether a URL has the replacement of a password or a query, as printed by Effective.
func unfilled(address string) bool {
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address == "nats://"+redacted
	}
	word, has := u.User.Password()
	if !has {
		word = u.User.Username()
	}
	return word == hiddenWord || u.RawQuery == redacted
}

// checkFilled refuses such a URL.
func checkFilled(name, address string, p *problems) {
	if unfilled(address) {
		p.at(name, "%s has %q, in which something stands for a secret that was not printed; fill it in", name, shorten(address))
	}
}
