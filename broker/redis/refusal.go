package redis

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

// meaning is what an answer of a server means, and what an operator can do about it.
type meaning struct {
	answer      string // how the answer begins
	reason, way string
	// lasts: the condition lasts for longer than a request waits. Other conditions may pass soon, so requests
	// that may be repeated are retried.
	lasts bool
	// slot: the answer concerns one slot of a cluster.
	slot bool
}

// meanings lists the answers that concern the server and not the request.
var meanings = []meaning{
	{"LOADING ", "the Redis server is reading its data back after a start", "it goes on by itself when that is done, and INFO persistence says how far it is", false, false},
	{"BUSY ", "the Redis server is busy with a script", "SCRIPT KILL ends one that has written nothing", false, false},
	{"CLUSTERDOWN ", "the Redis cluster is not whole", "bring back the servers that CLUSTER NODES shows as failed, or let others take over their slots", false, false},
	{"MASTERDOWN ", "the Redis server is a replica without its primary", "let redis_url name the primary, or mend the link between them", false, false},
	{"READONLY ", "the Redis server is a replica", "let redis_url name the primary", false, false},
	{"NOREPLICAS ", "the Redis server has fewer replicas than it must have to take writes", "bring them back, or lower its min-replicas-to-write", false, false},
	{"TRYAGAIN ", "slots of the Redis cluster are being moved", "it goes on by itself when that is done; redis-cli --cluster fix ends a move that was broken off", false, true},
	{"MOVED ", movedReason, movedWay, false, true},
	{"ASK ", movedReason, movedWay, false, true},
	{maxClients, "the Redis server takes no more connections", "raise its maxclients, or end some of its clients", false, false},
	{"OOM ", "the memory of the Redis server is full", "raise its maxmemory, or remove what else it holds", true, false},
	{"MISCONF ", "the Redis server cannot save to its disk", "repair the disk or its rights; INFO persistence tells when a save succeeds", true, false},
	{"NOPERM ", notPermitted, grantIt, true, false},
	{"The user executing the script", notPermitted, grantIt, true, false},
	{"unknown command", "the Redis server does not know a command that gateways need", "it must be Redis 7 or later without renamed commands", true, false},
	{"NOAUTH ", notAccepted, correctIt, true, false},
	{"WRONGPASS ", notAccepted, correctIt, true, false},
	{"DENIED ", "the Redis server is in its protected mode and takes connections of its own machine alone", "give it a password, or set protected-mode no", true, false},
}

const (
	movedReason  = "the servers of the Redis cluster do not agree who has a slot"
	movedWay     = "redis-cli --cluster fix ends a move that was broken off"
	notPermitted = "the Redis server does not permit it to the user of the gateway"
	grantIt      = "grant what docs/operations.md lists under Redis"
	notAccepted  = "the Redis server does not accept the gateway's user and password"
	correctIt    = "correct them in redis_url or in the file of redis_url_file"
)

// greeted is what a server says on a new connection before any command.
type greeted string

func (g greeted) Error() string { return string(g) }

// meaningOf returns the meaning of an error, nil if it is not the answer of a server or not in the list.
func meaningOf(err error) *meaning {
	var answer *rueidis.RedisError
	var first greeted
	text := ""
	switch {
	case errors.As(err, &answer):
		text = answer.Error()
	case errors.As(err, &first):
		text = first.Error()
	default:
		return nil
	}
	for i := range meanings {
		m := &meanings[i]
		// The error of a script may contain that of the command it called.
		if strings.HasPrefix(text, m.answer) || strings.HasPrefix(text, "ERR "+m.answer) || strings.Contains(text, "-"+m.answer) {
			return m
		}
	}
	return nil
}

// inWords adds to an error its meaning and what can be done about it.
func inWords(err error) error {
	m := meaningOf(err)
	if m == nil {
		return err
	}
	return fmt.Errorf("%w: %s; %s", err, m.reason, m.way)
}

// refusedFor returns the reason of an answer that retrying does not change, empty for other errors.
func refusedFor(err error) string {
	if m := meaningOf(err); m != nil && m.lasts {
		return m.reason
	}
	return ""
}

// failed wraps the error of a request. A lasting refusal becomes a [broker.Refused], whose reason the caller
// may see.
func failed(what string, err error) error {
	if reason := refusedFor(err); reason != "" {
		return &broker.Refused{Reason: reason, Cause: err}
	}
	return unavailable(what, err)
}

// errReplica means that the server takes no writes.
var errReplica = errors.New("the server is a replica, and redis_url must name the primary")

// at adds the server's address to an error.
func (l *Log) at(addr string, err error) error {
	if err == nil {
		return nil
	}
	if addr == "" {
		addr = l.addr
	}
	return fmt.Errorf("the Redis server %s: %w", addr, err)
}

// unreached returns the error of a start without a connection, with a hint at its possible cause.
func (l *Log) unreached(err error) error {
	hint := ""
	if (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && !l.secure() {
		hint = " (a port for TLS wants a redis_url that begins with rediss://)"
	}
	return fmt.Errorf("connecting to Redis: %w%s", l.at("", err), hint)
}

// secure reports whether connections use TLS.
func (l *Log) secure() bool {
	return strings.HasPrefix(string(l.opt.URL), "rediss:") || l.opt.CAFile != "" || l.opt.CertFile != ""
}
