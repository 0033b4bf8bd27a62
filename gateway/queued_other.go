//go:build !linux

package gateway

import "net"

// acceptQueued returns nothing: the kernel resets the connections in the backlog.
func acceptQueued(net.Listener) []uintptr { return nil }
