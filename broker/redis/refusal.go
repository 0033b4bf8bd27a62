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

// refusals are answers of a server that stay what they are for longer than anybody waits,
// with what they mean.
var refusals = []struct{ answer, reason string }{
	{"OOM ", "the memory of the Redis server is full"},
	{"MISCONF ", "the Redis server cannot save to its disk"},
	{"NOPERM ", "the Redis server does not permit it to the user of the gateway"},
	{"The user executing the script", "the Redis server does not permit it to the user of the gateway"},
	{"NOAUTH ", "the Redis server does not accept the gateway's user and password"},
	{"WRONGPASS ", "the Redis server does not accept the gateway's user and password"},
}

// refusedFor returns the reason of an answer that trying again does not change, empty for
// everything else.
func refusedFor(err error) string {
	var answer *rueidis.RedisError
	if !errors.As(err, &answer) {
		return ""
	}
	for _, r := range refusals {
		if strings.Contains(answer.Error(), r.answer) {
			return r.reason
		}
	}
	return ""
}

// unstored wraps the error of a publish. Whoever published may know why nothing is stored.
func unstored(err error) error {
	if reason := refusedFor(err); reason != "" {
		return &broker.Refused{Reason: reason, Cause: err}
	}
	return unavailable("publishing", err)
}

// errReplica says that the server takes no writes.
var errReplica = errors.New("the server is a replica, and redis_url must name the primary")

// at names the server of an error.
func (l *Log) at(addr string, err error) error {
	if err == nil {
		return nil
	}
	if addr == "" {
		addr = l.addr
	}
	return fmt.Errorf("the Redis server %s: %w", addr, err)
}

// unreached is the error of a start that got no connection, with what it may mean.
func (l *Log) unreached(err error) error {
	hint := ""
	if (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && !l.secure() {
		hint = " (a port for TLS wants a redis_url that begins with rediss://)"
	}
	return fmt.Errorf("connecting to Redis: %w%s", l.at("", err), hint)
}

// secure says whether connections use TLS.
func (l *Log) secure() bool {
	return strings.HasPrefix(string(l.opt.URL), "rediss:") || l.opt.CAFile != "" || l.opt.CertFile != ""
}
