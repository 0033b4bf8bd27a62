package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"

	"github.com/sluicehq/sluice/configs"
)

// ownDial returns how a command connects to the server of its own configuration, nil for the usual way. If this
// machine is among the proxies that must send a PROXY header, the command sends one that says that it speaks for
// itself.
func ownDial(c *configs.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	if c.ProxyProtocol != "required" {
		return nil
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		// The local address is what the server sees as its peer.
		own, err := netip.ParseAddrPort(conn.LocalAddr().String())
		if err != nil || !slices.ContainsFunc(c.TrustedProxies, func(n netip.Prefix) bool { return n.Contains(own.Addr().Unmap()) }) {
			return conn, nil
		}
		if _, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}).WriteTo(conn); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("the header of the PROXY protocol: %w", err)
		}
		return conn, nil
	}
}
