//go:build !linux

package gateway

import "net"

// listening leaves what asks whether a peer is still there to Go.
func listening() net.ListenConfig { return net.ListenConfig{} }
