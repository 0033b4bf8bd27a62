package fault

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Servers that a test starts in processes of their own, or starts again, must know their
// ports beforehand. What the system hands out for port 0 may be taken by any connection
// before it is used, so these lie below its range, and each is given once.
const (
	lowestPort = 12000
	portRange  = 10000
	// portsApart lies between the first ports of two processes with neighbouring numbers.
	portsApart = 97
)

var nextPort atomic.Int64

// Ports returns ports of 127.0.0.1 that nobody listens on and that no other call in this
// process gets. Each has 10 000 added to it free as well, for servers of Redis Cluster,
// whose second port lies there.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for tries := 0; len(out) < n; tries++ {
		if tries == portRange {
			t.Fatal("no free port was found")
		}
		port := lowestPort + int((int64(os.Getpid())*portsApart+nextPort.Add(1))%portRange)
		if free(port) && free(port+10000) {
			out = append(out, port)
		}
	}
	return out
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
