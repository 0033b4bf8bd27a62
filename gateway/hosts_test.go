package gateway

import "testing"

// TestHostsAreComparedByWhatTheyMean: a host name may end in a dot, and an address has several spellings.
func TestHostsAreComparedByWhatTheyMean(t *testing.T) {
	known := local{[]string{"Tunnel.example", "dev.example.", "[fd00::1]", "fd00::2", "192.0.2.1"}}
	for host, want := range map[string]bool{
		"tunnel.example": true, "tunnel.example:6001": true, "tunnel.example.:6001": true, "dev.example": true, "dev.example:1": true, "dev.example.": true,
		"[fd00::1]": true, "[fd00::1]:6001": true, "[FD00:0::1]:6001": true, "[fd00::2]": true, "[fd00::2]:6001": true, "192.0.2.1:80": true, "[::ffff:192.0.2.1]:80": true,
		"localhost.:1": true, "[::1]:1": true,
		"other.example": false, "x.tunnel.example": false, "[fd00::3]:6001": false, "192.0.2.2": false, "tunnel.example..": false, "": false,
	} {
		if got := known.isHost(host); got != want {
			t.Errorf("%q is known: %v, want %v", host, got, want)
		}
	}
}
