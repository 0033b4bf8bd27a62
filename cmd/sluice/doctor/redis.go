package doctor

import (
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker/redis"
)

// oldestRedis is the oldest supported major version.
const oldestRedis = 7

// JudgeRedis judges a log on Redis. err is why it could not be examined.
func JudgeRedis(i *redis.Inspection, cluster bool, err error) []Finding {
	f := &findings{area: "log on Redis"}
	if err != nil {
		f.fail("connection", "Check redis_url, its password and redis.tls.", "%v", err)
		return f.all
	}
	for _, s := range i.Servers {
		f.fine("connection", "%s, version %s, %s, %s", s.Address, s.Version, s.Mode, s.Role)
		major, _, _ := strings.Cut(s.Version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < oldestRedis {
			f.fail("version", "Use Redis 7 or later.", "%s is version %s", s.Address, s.Version)
		}
		if (s.Mode == "cluster") != cluster {
			f.fail("mode", "Set adapter.driver to redis-cluster for a cluster, and to redis for a single server.", "%s is %s", s.Address, s.Mode)
		}
		judgeRedisMemory(f, s)
		judgePersistence(f, s)
		judgeClock(f, s.Address, s.Ahead, s.Doubt)
	}
	for _, d := range i.Denied {
		f.fail("permissions", "Grant "+d.Grant+" to the user (docs/operations.md has the whole list).", "the user may not do what %s needs: %s", d.For, d.Said)
	}
	if len(i.Denied) == 0 {
		f.fine("permissions", "the user may do everything that gateways do")
	}
	return f.all
}

func judgeRedisMemory(f *findings, s redis.InspectedServer) {
	if s.Policy != "" && s.Policy != "noeviction" {
		f.warn("maxmemory-policy", "Set it to noeviction.", "%s removes events when its memory is full (%s)", s.Address, s.Policy)
	}
	switch {
	case s.MaxMemory == 0:
		f.note("maxmemory", "Set it below what the machine has, so that writes are refused before the system ends the server.", "%s has no limit of memory", s.Address)
	case s.UsedMemory > s.MaxMemory/10*9:
		f.warn("maxmemory", "Give it more, or keep less (history.max_messages).", "%s uses %s of %s", s.Address, bytesOf(s.UsedMemory), bytesOf(s.MaxMemory))
	default:
		f.fine("maxmemory", "%s uses %s of %s", s.Address, bytesOf(s.UsedMemory), bytesOf(s.MaxMemory))
	}
}

func judgePersistence(f *findings, s redis.InspectedServer) {
	switch {
	case s.AppendOnly == "":
		f.note("persistence", "Let the user run CONFIG GET (+config|get) to have it looked at.", "what %s keeps when it ends is not known", s.Address)
	case s.AppendOnly != "yes":
		f.warn("persistence", "Set appendonly yes and appendfsync everysec or always.", "%s has no append-only file: its end loses everything since the last snapshot, perhaps all", s.Address)
	case s.AppendFsync == "no":
		f.warn("persistence", "Set appendfsync everysec or always.", "%s synchronises its append-only file when the system likes", s.Address)
	default:
		f.fine("persistence", "%s has an append-only file, synchronised %s", s.Address, s.AppendFsync)
	}
}
