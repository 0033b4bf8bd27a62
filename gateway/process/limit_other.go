//go:build !unix

package process

// systemLimit is unknown on this system.
func systemLimit() int { return 0 }
