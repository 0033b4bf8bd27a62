package web_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestScripts runs the tests of the page's modules in Node. If the npm package fossil-delta is there
// (scripts/test installs it), the decoder is also checked against that package's encoder.
func TestScripts(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	files, err := filepath.Glob("testdata/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test scripts: %v", err)
	}
	cmd := exec.Command(node, append([]string{"--test", "--test-reporter=spec"}, files...)...)
	cmd.Env = os.Environ()
	reference, err := filepath.Abs("../../test/interop/node_modules/fossil-delta/fossil-delta.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(reference); err == nil {
		cmd.Env = append(cmd.Env, "FOSSIL_DELTA="+reference)
	} else {
		t.Log("without fossil-delta: only vectors are checked")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
