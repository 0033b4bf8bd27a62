package deploy

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// own gives a folder to a user.
func (m *image) own(path, who string) {
	uid, gid := ids(m.t, who)
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, uid, gid); err != nil {
		m.t.Fatal(err)
	}
}

func ids(t *testing.T, who string) (uid, gid int) {
	t.Helper()
	u, g, _ := strings.Cut(who, ":")
	uid, err := strconv.Atoi(u)
	if err == nil {
		gid, err = strconv.Atoi(g)
	}
	if err != nil {
		t.Fatal(who, err)
	}
	return uid, gid
}

// inside is a command of the image: in its root, as its user, without an environment.
func (m *image) inside(args ...string) *exec.Cmd {
	uid, gid := ids(m.t, m.user)
	cmd := exec.CommandContext(m.t.Context(), args[0], args[1:]...)
	cmd.Env, cmd.Dir = []string{}, m.work
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// TestRun06TheImageRuns does the steps of the Dockerfile without a daemon, and runs what
// they make as a container runs it: nothing but its own files, and no rights.
func TestRun06TheImageRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may change the root of a process")
	}
	m := &image{t: t, context: buildContext(t)}
	m.make(readDockerfile(t))
	if out, err := m.inside("/sluice", "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "sluice 1.2.3-test\nrevision 0123456789abcdef\n") {
		t.Fatalf("%v: %s", err, out)
	}
	port := fault.Ports(t, 1)[0]
	conf := filepath.Join(m.root, "etc", "sluice", "sluice.yaml")
	copyTo(t, filepath.Join(kit, "compose", "gateway-single.yaml"), conf)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "\nport: %d\nmetrics: {port: -1}\n", port)
	text = bytes.Replace(text, []byte("embedded:\n"), []byte("embedded:\n    port: 0\n"), 1)
	text = bytes.Replace(text, []byte("drain_seconds: 30\n"), []byte("drain_seconds: 1\n  ready_delay_seconds: 0\n"), 1)
	if err := os.WriteFile(conf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	server := m.inside(append(m.entry, m.cmd...)...)
	said := &bytes.Buffer{}
	server.Stderr = said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	ready := fmt.Sprintf("http://127.0.0.1:%d/ready", port)
	for {
		if r, err := http.Get(ready); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("it has ended: %v\n%s", err, said)
		case <-t.Context().Done():
			t.Fatal(said)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if out, err := m.inside(m.check[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the health check: %v: %s", err, out)
	}
	if entries, err := os.ReadDir(filepath.Join(m.root, "data")); err != nil || len(entries) == 0 {
		t.Errorf("nothing is in the volume: %v", err)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stop: %v\n%s", err, said)
	}
	if out, err := m.inside(m.check[1:]...).CombinedOutput(); err == nil {
		t.Errorf("the health check of a server that has stopped says yes: %s", out)
	}
}
