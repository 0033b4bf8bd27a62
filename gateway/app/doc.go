// Package app has what a gateway knows of its tenants: identity, credentials, limits and per-channel delta
// settings.
//
// An [App] is immutable after construction and safe to share. When a tenant changes, another App replaces it in
// the [Registry], and [App.Now] leads from the old one to the new one. The package does no I/O and reads no
// files; cmd/sluice maps the configuration to it.
package app
