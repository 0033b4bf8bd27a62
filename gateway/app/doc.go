// Package app holds what a gateway knows of its tenants: identity, credentials,
// limits and per-channel delta settings.
//
// An [App] is immutable after construction and safe to share. The package does
// no I/O and reads no files; cmd/sluice maps the configuration to it.
package app
