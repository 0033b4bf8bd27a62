// Package configs loads the configuration: defaults, then a file, then the environment, then flags, each
// overriding the previous one.
//
// One table describes every key: its type, default, range and meaning. Loading, validation, flags, environment
// variables and the generated reference (docs/configuration.md) all derive from it. Loading reports all problems
// at once, names the key, the value and what is allowed, and never prints a secret. An unknown key is an error:
// a mistyped limit must not silently become no limit.
package configs
