// Package app holds what a gateway knows of its tenants: identity, credentials,
// limits and per-channel delta settings.
//
// An [App] is immutable after construction and safe to share. When a tenant changes, another one
// takes its place in the [Registry], and [App.Now] leads there. The package does
// no I/O and reads no files; cmd/sluice maps the configuration to it.
package app
