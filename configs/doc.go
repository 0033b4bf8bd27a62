// Package configs reads the configuration: defaults, then a file, then the
// environment, then flags, each overriding the one before.
//
// One table describes every key: its type, default, range and meaning. Loading,
// validation, flags, environment variables and the generated reference
// (docs/configuration.md) all come from it. Loading reports every problem at once,
// names the key, the value and what is allowed, and never prints a secret. A key
// that the table does not have is an error: a mistyped limit must not silently
// become no limit.
package configs
