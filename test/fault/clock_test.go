package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// tellEnv makes this test binary tell what its clock says.
const tellEnv = "TELL_TIME"

// TestOwnClock builds this package with a clock of its own and asks it for the time.
func TestOwnClock(t *testing.T) {
	if os.Getenv(tellEnv) != "" {
		began := time.Now()
		fmt.Println("time", began.Unix(), time.Since(began) < time.Minute)
		return
	}
	program, err := BuildWithOwnClock(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []int64{0, 3600, -3600} {
		cmd := exec.Command(program, "-test.run", "^TestOwnClock$")
		cmd.Env = append(os.Environ(), tellEnv+"=1", fmt.Sprint(AheadEnv, "=", ahead))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var says int64
		var steady bool
		if _, err := fmt.Sscanf(strings.TrimSpace(string(out)), "time %d %t", &says, &steady); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if off := says - time.Now().Unix() - ahead; off < -60 || off > 60 || !steady {
			t.Errorf("a clock that is %d s ahead is off by %d s, measures durations: %v", ahead, off, steady)
		}
	}
}
