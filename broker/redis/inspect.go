package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Inspection describes Redis from the view of gateways with the given options. Making it changes nothing.
type Inspection struct {
	Servers []InspectedServer
	// Denied lists the missing permissions in the form in which they are granted.
	Denied []Denial
}

// InspectedServer is one server of Redis.
type InspectedServer struct {
	Address, Version, Mode, Role string
	// Ahead is how far the server's clock is ahead of this machine's, within Doubt.
	Ahead, Doubt time.Duration
	// UsedMemory and MaxMemory are in bytes; MaxMemory 0 means no limit. Policy is the eviction policy;
	// AppendOnly and AppendFsync are the persistence settings. The three are empty if CONFIG is refused.
	UsedMemory, MaxMemory           int64
	Policy, AppendOnly, AppendFsync string
	Replicas                        int
}

// Denial is a permission that gateways need and the user lacks.
type Denial struct{ Grant, For, Said string }

// Inspect examines Redis as gateways with these options would find it, and changes nothing. It returns an
// error only if nothing could be examined.
func Inspect(ctx context.Context, opt Options) (*Inspection, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	o, err := opt.client("doctor")
	if err != nil {
		return nil, err
	}
	c, err := rueidis.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("connecting to Redis at %s: %w", strings.Join(o.InitAddress, ", "), err)
	}
	defer c.Close()
	i := &Inspection{}
	for address, node := range c.Nodes() {
		s, err := inspectServer(ctx, node)
		if err != nil {
			if why, refused := rueidis.IsRedisErr(err); refused {
				i.Denied = append(i.Denied, Denial{"+info +time", "versions and clocks", why.Error()})
				continue
			}
			return nil, fmt.Errorf("asking Redis at %s: %w", address, err)
		}
		s.Address = address
		i.Servers = append(i.Servers, s)
	}
	i.Denied = append(i.Denied, deniedTo(ctx, c, opt.Prefix)...)
	return i, nil
}

func inspectServer(ctx context.Context, c rueidis.Client) (s InspectedServer, err error) {
	text, err := c.Do(ctx, c.B().Info().Build()).ToString()
	if err != nil {
		return s, err
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[key] = value
	}
	number := func(key string) int64 { n, _ := strconv.ParseInt(info[key], 10, 64); return n }
	s.Version, s.Mode, s.Role = info["redis_version"], info["redis_mode"], info["role"]
	s.UsedMemory, s.MaxMemory, s.Replicas = number("used_memory"), number("maxmemory"), int(number("connected_slaves"))
	asked := time.Now()
	at, err := c.Do(ctx, c.B().Time().Build()).AsIntSlice()
	if err != nil || len(at) != 2 {
		return s, err
	}
	s.Doubt = time.Since(asked) / 2
	s.Ahead = time.Unix(at[0], at[1]*1000).Sub(asked.Add(s.Doubt))
	if got, err := c.Do(ctx, c.B().ConfigGet().Parameter("appendonly", "appendfsync", "maxmemory-policy").Build()).AsStrMap(); err == nil {
		s.Policy, s.AppendOnly, s.AppendFsync = got["maxmemory-policy"], got["appendonly"], got["appendfsync"]
	}
	return s, nil
}

// deniedTo tries what gateways do on a key that does not exist, which changes nothing.
func deniedTo(ctx context.Context, c rueidis.Client, prefix string) (out []Denial) {
	key := prefix + "doctor:{not-there}"
	for _, p := range []struct {
		grant, needs string
		command      rueidis.Completed
	}{
		{"~" + prefix + "* +@read", "history", c.B().Xlen().Key(key).Build()},
		{"~" + prefix + "* +@write", "storing events", c.B().Del().Key(key).Build()},
		{"~" + prefix + "* +@write", "storing events", c.B().Xtrim().Key(key).Maxlen().Threshold("1").Build()},
		{"+@scripting", "storing events", c.B().Eval().Script("return redis.call('exists', KEYS[1])").Numkeys(1).Key(key).Build()},
		{"&" + prefix + "* +@pubsub", "live events", c.B().Publish().Channel(prefix + "doctor").Message("").Build()},
		{"+@connection", "connections", c.B().Ping().Build()},
	} {
		err := c.Do(ctx, p.command).Error()
		if why, refused := rueidis.IsRedisErr(err); refused && strings.HasPrefix(why.Error(), "NOPERM") {
			out = append(out, Denial{p.grant, p.needs, why.Error()})
		}
	}
	return out
}
