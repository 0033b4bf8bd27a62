//go:build !unix

package embedded

import "os"

// exclusive does nothing where the system has no advisory locks; the port is the
// only guard there.
func exclusive(*os.File) error { return nil }
