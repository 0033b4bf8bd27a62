//go:build lockrank

package rank

// A program that is built for tests checks from its start on.
func init() { begin() }
