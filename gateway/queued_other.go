//go:build !linux

package gateway

import "net"

// acceptQueued takes nothing: those who wait to be accepted are reset.
func acceptQueued(net.Listener) []uintptr { return nil }
