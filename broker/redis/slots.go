package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// learn reads from a cluster which server has which slot. It asks one server after the other until one
// answers.
func (s *subscriptions) learn(ctx context.Context) error {
	if !s.log.opt.Cluster {
		return nil
	}
	err := errors.New("no server of the cluster is known")
	for addr, server := range s.log.read.Nodes() {
		var slots *[16384]string
		if slots, err = askSlots(ctx, addr, server); err == nil {
			s.mu.Lock()
			s.slots = *slots
			s.mu.Unlock()
			return nil
		}
	}
	return err
}

// askTimeout bounds a request for the state of one server.
const askTimeout = time.Second

func askSlots(ctx context.Context, addr string, server rueidis.Client) (*[16384]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ranges, err := server.Do(ctx, server.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return nil, unavailable("asking for the slots of the cluster", err)
	}
	slots := &[16384]string{}
	for _, r := range ranges {
		fields, err := r.ToArray()
		if err != nil || len(fields) < 3 {
			return nil, errSlots
		}
		first, err1 := fields[0].AsInt64()
		last, err2 := fields[1].AsInt64()
		master, err3 := fields[2].ToArray()
		if err := errors.Join(err1, err2, err3); err != nil || len(master) < 2 || first < 0 || last > 16383 {
			return nil, errSlots
		}
		host, _ := master[0].ToString()
		port, _ := master[1].AsInt64()
		switch host {
		case "?": // its name is not known yet
			continue
		case "": // the answering server, which does not know its own address
			host, _, _ = net.SplitHostPort(addr)
		}
		for slot := first; slot <= last; slot++ {
			slots[slot] = net.JoinHostPort(host, strconv.FormatInt(port, 10))
		}
	}
	return slots, nil
}

var (
	errSlots     = errors.New("the cluster describes its slots in an unknown form")
	errUncovered = errors.New("a slot of the cluster belongs to no server")
)

// masters returns the servers that have slots, by address. A replica has no other keys, may lag, and need not
// answer.
func (l *Log) masters() (map[string]rueidis.Client, error) {
	all := l.read.Nodes()
	if !l.opt.Cluster {
		return all, nil
	}
	out := map[string]rueidis.Client{}
	l.subs.mu.Lock()
	defer l.subs.mu.Unlock()
	for _, addr := range l.subs.slots {
		switch {
		case addr == "":
			return nil, errUncovered
		case all[addr] == nil:
			return nil, fmt.Errorf("no connection to the server %s yet", addr)
		}
		out[addr] = all[addr]
	}
	return out, nil
}

// home returns the address of the server that has a channel; on a cluster it is empty if no server has it.
// The caller holds the lock.
func (s *subscriptions) home(channel string) string {
	if !s.log.opt.Cluster {
		return ""
	}
	return s.slots[slotOf(channel)]
}

// homeOf is home for callers without the lock.
func (s *subscriptions) homeOf(channel string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.home(channel)
}
