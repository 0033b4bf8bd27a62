package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// freePorts returns ports that are free at the moment.
func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}

// natsMain runs a NATS server in a process of its own, until it is killed. Arguments: store directory,
// number, then the client ports of all servers and their route ports.
func natsMain(args []string) error {
	if len(args) < 4 {
		return errors.New("nats: directory, number and ports are needed")
	}
	i, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var ports []int
	for _, text := range args[2:] {
		p, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		ports = append(ports, p)
	}
	n := len(ports) / 2
	opt := &natsserver.Options{
		ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: ports[i], JetStream: true, StoreDir: args[0],
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 8 << 30, SyncInterval: time.Second, NoLog: true,
	}
	if n > 1 {
		opt.Cluster = natsserver.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: ports[n+i]}
		for _, p := range ports[n:] {
			u, err := url.Parse(fmt.Sprintf("nats-route://127.0.0.1:%d", p))
			if err != nil {
				return err
			}
			opt.Routes = append(opt.Routes, u)
		}
	}
	s, err := natsserver.NewServer(opt)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}
