//go:build lockrank

package rank

// With the build tag lockrank, a whole program checks ranks from its start.
func init() { begin() }
