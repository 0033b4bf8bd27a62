package fault

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// Servers that a test runs in separate processes, or restarts, must know their ports beforehand. A port that
// the system returns for port 0 may be taken by any connection before it is used, so these ports lie below
// the system's range. A process takes them from blocks that no other process has: it owns a block until it
// ends by listening on the block's first port, below firstPort.
const (
	firstPort = 12000
	blocks    = 100
	blockSize = 100
)

var ports struct {
	sync.Mutex
	claims []net.Listener
	mine   []int // the blocks of this process
	given  int   // number of ports given out from these blocks
}

// Ports returns ports of 127.0.0.1 on which nobody listens and that no other test gets, in this process or
// another, as long as there are any; then it reuses those of this process. For each of them port+10000 is
// free as well, for servers of Redis Cluster, whose second port lies there.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	var out []int
	for tries := 0; len(out) < n; tries++ {
		if ports.given == len(ports.mine)*blockSize && !claim() {
			ports.given = 0
		}
		if tries == blocks*blockSize || len(ports.mine) == 0 {
			t.Fatal("no free port was found")
		}
		port := firstPort + ports.mine[ports.given/blockSize]*blockSize + ports.given%blockSize
		ports.given++
		if free(port) && free(port+10000) {
			out = append(out, port)
		}
	}
	return out
}

// claim takes one more block of ports.
func claim() bool {
	for i := range blocks {
		block := (os.Getpid() + i) % blocks
		l, err := net.Listen("tcp", address(firstPort-blocks+block))
		if err == nil {
			ports.claims = append(ports.claims, l)
			ports.mine = append(ports.mine, block)
			return true
		}
	}
	return false
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func free(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
