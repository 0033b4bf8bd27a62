package redisserver

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Cluster is a Redis Cluster of three masters.
type Cluster struct {
	Masters [3]*Server
	// owner of each slot, an index of Masters.
	owner    [16384]int
	replicas int
}

// StartCluster runs a cluster of three masters without replicas.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{}
	for i := range c.Masters {
		c.Masters[i] = Start(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf",
		}, args...)...)
	}
	for i, s := range c.Masters {
		from, to := i*16384/3, (i+1)*16384/3-1
		for slot := from; slot <= to; slot++ {
			c.owner[slot] = i
		}
		s.Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", from, to))
		s.Do(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
	}
	for _, s := range c.Masters[1:] {
		s.Do(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", c.Masters[0].port))
	}
	c.Whole()
	return c
}

// Empty removes all data, so that several tests can share a cluster: a new one takes two seconds until it
// accepts its first key.
func (c *Cluster) Empty() {
	for _, s := range c.Masters {
		s.Do("FLUSHALL")
	}
}

func (c *Cluster) formed() bool {
	for _, s := range c.Masters {
		if s.info("cluster_state") != "ok" || s.info("cluster_known_nodes") != fmt.Sprint(3+c.replicas) {
			return false
		}
	}
	return true
}

// info returns one field of CLUSTER INFO.
func (s *Server) info(field string) string { return s.field("CLUSTER INFO", field) }

// Info returns one field of INFO.
func (s *Server) Info(field string) string { return s.field("INFO", field) }

func (s *Server) field(command, field string) string {
	for _, line := range s.Lines(command) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			return value
		}
	}
	return ""
}

// Lines returns all lines of an answer, including the marks of the protocol.
func (s *Server) Lines(command string) (all []string) {
	c, err := net.DialTimeout("tcp", s.Addr(), answerTime)
	if err != nil {
		return nil
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(answerTime))
	_, _ = c.Write([]byte(command + "\r\nQUIT\r\n"))
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		all = append(all, strings.TrimSpace(lines.Text()))
	}
	return all
}

func (s *Server) id() string {
	lines := s.Lines("CLUSTER MYID")
	if len(lines) < 2 {
		s.t.Fatal("a server of a cluster does not tell its id")
	}
	return lines[1]
}

// Replica adds a replica of a master and waits until it is in sync.
func (c *Cluster) Replica(master int, args ...string) *Server {
	of := c.Masters[master]
	of.t.Helper()
	s := Start(of.t, append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf",
	}, args...)...)
	c.replicas++
	s.Do(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", of.port))
	c.Whole()
	wait(of.t, "a replica knows its master", func() bool { return s.command("CLUSTER REPLICATE "+of.id()) == "+OK" })
	wait(of.t, "a replica has everything", func() bool { return s.Info("master_link_status") == "up" })
	return s
}

// Leads reports whether the server is a master.
func (s *Server) Leads() bool { return s.Info("role") == "master" }

func wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// Owner returns the index of the master that has a slot.
func (c *Cluster) Owner(slot int) int { return c.owner[slot] }

// Move moves a slot with its keys to another master, as redis-cli --cluster reshard does. between, if not
// nil, is called while the slot is in two places.
func (c *Cluster) Move(slot, to int, between func()) {
	from, target := c.Masters[c.owner[slot]], c.Masters[to]
	from.t.Helper()
	if from == target {
		return
	}
	target.Do(fmt.Sprintf("CLUSTER SETSLOT %d IMPORTING %s", slot, from.id()))
	from.Do(fmt.Sprintf("CLUSTER SETSLOT %d MIGRATING %s", slot, target.id()))
	for {
		var keys []string
		for _, line := range from.Lines(fmt.Sprintf("CLUSTER GETKEYSINSLOT %d 8", slot)) {
			if strings.Contains(line, "{") {
				keys = append(keys, line)
			}
		}
		if len(keys) == 0 {
			break
		}
		// One key at a time, so that clients meet the slot in all states.
		for _, key := range keys {
			from.Do(fmt.Sprintf(`MIGRATE 127.0.0.1 %d %s 0 20000`, target.port, key))
		}
		if between != nil {
			between()
		}
	}
	// The new owner first: a slot that no master claims would be lost.
	for _, s := range []*Server{target, from, c.Masters[3-c.owner[slot]-to]} {
		s.Do(fmt.Sprintf("CLUSTER SETSLOT %d NODE %s", slot, target.id()))
	}
	c.owner[slot] = to
}

// Sound reports whether a server of a cluster serves requests.
func (s *Server) Sound() bool { return s.info("cluster_state") == "ok" }

// Whole waits until all masters agree that the cluster works.
func (c *Cluster) Whole() {
	c.Masters[0].t.Helper()
	wait(c.Masters[0].t, "the Redis cluster forms", c.formed)
}

// URL returns the redis_url of the cluster for a configuration.
func (c *Cluster) URL() string {
	return fmt.Sprintf("%s?addr=%s&addr=%s", c.Masters[0].URL(), c.Masters[1].Addr(), c.Masters[2].Addr())
}
