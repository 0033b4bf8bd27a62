package fault

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// Servers that a test starts in processes of their own, or starts again, must know their
// ports beforehand. What the system hands out for port 0 may be taken by any connection
// before it is used, so these lie below its range. A process takes them from blocks that no
// other process has: who listens on the block's first port below firstPort has it, until it ends.
const (
	firstPort = 12000
	blocks    = 100
	blockSize = 100
)

var ports struct {
	sync.Mutex
	claims []net.Listener
	mine   []int // the blocks of this process
	given  int   // of the ports of these blocks
}

// Ports returns ports of 127.0.0.1 that nobody listens on and that no other test gets, in this
// process or another, as long as there are any; then those of this process again. Each has 10 000 added to it free as well, for
// servers of Redis Cluster, whose second port lies there.
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

// claim takes one more block.
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
