//go:build !linux

package gateway

import "net"

// listening leaves TCP keep-alive to Go.
func listening() net.ListenConfig { return net.ListenConfig{} }
