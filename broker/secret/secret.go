// Package secret keeps credentials out of what is printed.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands in place of a secret.
const Redacted = "[redacted]"

// Secret is a credential that prints itself redacted, whatever the verb or the format. An
// empty one prints as empty, so that one can see that it is not set.
type Secret string

// String says nothing of the secret but whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// Format implements [fmt.Formatter]: without it a verb such as %x would print the secret itself.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements [encoding.TextMarshaler], for JSON and its kind.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Reveal returns the secret itself, for computing signatures and opening connections.
func (s Secret) Reveal() string { return string(s) }
