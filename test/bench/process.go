package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is a server that speaks the protocol, with one or several nodes, in processes of its own.
type target struct {
	name             string
	nodes            []string // host:port
	app, key, secret string
	// gateways and stores are the ids of its processes, if known: those that accept requests, and those that
	// keep the log.
	gateways, stores []int
	// nats are the URLs of its NATS servers, for publishing without a gateway.
	nats []string
	// profilers holds the profiling address of each process by name, if profiles are requested.
	profilers map[string]string
	stop      func()
}

// spent returns the processor time of some processes, user and system, in steps of 10 ms.
func spent(pids []int) time.Duration {
	var ticks int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The name of the program is in parentheses and may contain spaces.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(f, 10, 64) // it is a number
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// program is a binary to measure.
type program struct{ name, path string }

// programs parses a list of `name=path` or paths. If it is empty, the present tree is built.
func programs(list, dir string) ([]program, error) {
	if list == "" {
		path := filepath.Join(dir, "sluice")
		build := exec.Command("go", "build", "-o", path, "./cmd/sluice")
		build.Dir, build.Stderr = "../..", os.Stderr
		return []program{{"sluice", path}}, build.Run()
	}
	var out []program
	for part := range strings.SplitSeq(list, ",") {
		name, path, named := strings.Cut(part, "=")
		if !named {
			name, path = filepath.Base(part), part
		}
		out = append(out, program{name, path})
	}
	return out, nil
}

const (
	benchKey    = "key"
	benchSecret = "a-secret-of-the-benchmark"
)

// startTarget starts gateways of a program on one NATS server per copy of the log. With no copies the log is
// in the process of the gateway.
func startTarget(p program, dir string, gateways, copies int, profiled bool) (*target, error) {
	t := &target{name: p.name, app: "app", key: benchKey, secret: benchSecret}
	if profiled {
		t.profilers = map[string]string{}
	}
	var all []*exec.Cmd
	t.stop = func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	run := func(c *exec.Cmd) (int, error) {
		if err := c.Start(); err != nil {
			t.stop()
			return 0, fmt.Errorf("%s: %w", c.Path, err)
		}
		all = append(all, c)
		return c.Process.Pid, nil
	}
	if err := t.startStores(filepath.Join(dir, p.name), copies, run); err != nil {
		return nil, err
	}
	for i := range gateways {
		pid, err := t.startGateway(p, filepath.Join(dir, fmt.Sprintf("%s-%d", p.name, i)), copies, run)
		if err != nil {
			return nil, err
		}
		t.gateways = append(t.gateways, pid)
	}
	for _, node := range t.nodes {
		if err := awaitReady(node); err != nil {
			t.stop()
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return t, nil
}

func (t *target) startStores(dir string, n int, run func(*exec.Cmd) (int, error)) error {
	ports, err := freePorts(3 * n)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range n {
		args := []string{"nats", filepath.Join(dir, strconv.Itoa(i)), strconv.Itoa(i)}
		for _, p := range ports[:2*n] {
			args = append(args, strconv.Itoa(p))
		}
		if t.profilers != nil {
			args[0] = "profiled-nats"
			args = append(args, t.profiler(fmt.Sprintf("nats-%d", i), ports[2*n+i]))
		}
		pid, err := run(exec.Command(self, args...))
		if err != nil {
			return err
		}
		t.stores = append(t.stores, pid)
		t.nats = append(t.nats, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	return nil
}

func (t *target) startGateway(p program, dir string, copies int, run func(*exec.Cmd) (int, error)) (int, error) {
	ports, err := freePorts(3)
	if err != nil {
		return 0, err
	}
	nats := map[string]any{"url": t.nats, "replicas": copies}
	if copies == 0 {
		nats = map[string]any{"embedded": map[string]any{"port": ports[1], "store_dir": dir}}
		t.nats = append(t.nats, fmt.Sprintf("nats://127.0.0.1:%d", ports[1]))
	}
	all := map[string]any{
		"mode": "production", "host": "127.0.0.1", "port": ports[0], "metrics": map[string]any{"port": -1}, "nats": nats,
		"apps": []any{map[string]any{"id": t.app, "key": t.key, "secret": t.secret}},
	}
	if t.profilers != nil {
		all["debug"] = map[string]any{"pprof": t.profiler(fmt.Sprintf("gateway-%d", len(t.nodes)), ports[2])}
	}
	settings, err := json.Marshal(all)
	if err != nil {
		return 0, err
	}
	file := dir + ".json"
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		return 0, err
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	c := exec.Command(p.path, "serve", "--config", file)
	c.Stderr, c.Stdout = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	t.nodes = append(t.nodes, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])))
	return run(c)
}

func awaitReady(node string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node+"/ready", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not get ready: %w", node, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// peerTarget returns a target that runs already: nodes as URLs with credentials,
// http://KEY:SECRET@HOST:PORT/apps/ID, separated by commas, and the ids of its processes.
func peerTarget(nodes, pids string) (*target, error) {
	t := &target{name: "peer", stop: func() {}}
	for text := range strings.SplitSeq(nodes, ",") {
		u, err := url.Parse(text)
		if err != nil || u.User == nil || !strings.HasPrefix(u.Path, "/apps/") {
			return nil, fmt.Errorf("-peer %q: must be http://KEY:SECRET@HOST:PORT/apps/ID", text)
		}
		t.nodes = append(t.nodes, u.Host)
		t.app, t.key = strings.TrimPrefix(u.Path, "/apps/"), u.User.Username()
		t.secret, _ = u.User.Password()
	}
	for text := range strings.SplitSeq(pids, ",") {
		if text == "" {
			continue
		}
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("-peer-pids %q: must be numbers", pids)
		}
		t.gateways = append(t.gateways, pid)
	}
	return t, nil
}
