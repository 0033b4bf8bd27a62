package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

var _ broker.Ranking = (*Log)(nil)

// countScript counts the entries from an offset on without reading them all. A stream has no ranks, but
// offsets rise by one except where another run of a server continued, which causes a large jump. So the
// script searches the jumps: the middle of the widest unknown part most probably lies in one, and its
// neighbours show where the jump begins and ends. All jumps are found when they account for all missing
// offsets.
//
//	KEYS: stream   ARGV: offset
//	answers: the number of entries, -1 if it is not known after maxJumps probes
var countScript = rueidis.NewLuaScriptRetryable(`
local len = redis.call('XLEN', KEYS[1])
if len == 0 then return 0 end
local function id(n) return string.format('%.0f', n) .. '-0' end
local function at(command, from, to)
  local e = redis.call(command, KEYS[1], from, to, 'COUNT', 1)[1]
  return e and tonumber(string.match(e[1], '^(%d+)'))
end
local low, high = at('XRANGE', '-', '+'), at('XREVRANGE', '+', '-')
local first = at('XRANGE', ARGV[1] .. '-0', '+')
if not first then return 0 end
-- what is not known to be without a jump, with an entry at either end
local parts, missing, behind = {{low, first}, {first, high}}, high - low + 1 - len, 0
for look = 1, ` + strconv.Itoa(maxJumps) + ` do
  if missing == 0 then return high - first + 1 - behind end
  local widest = 1
  for i = 2, #parts do
    if parts[i][2] - parts[i][1] > parts[widest][2] - parts[widest][1] then widest = i end
  end
  local a, b = parts[widest][1], parts[widest][2]
  local middle = math.floor((a + b) / 2)
  local right, left = at('XRANGE', id(middle), id(b)), at('XREVRANGE', id(middle), id(a))
  if right > left then
    local jump = right - left - 1
    missing = missing - jump
    if left >= first then behind = behind + jump end
  end
  parts[widest] = {a, left}
  parts[#parts + 1] = {right, b}
end
return -1
`)

// maxJumps bounds the probes for jumps. If somebody removed entries by hand, there may be more jumps than
// failovers.
const maxJumps = 128

// CountFrom implements [broker.Ranking].
func (l *Log) CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error) {
	if _, err := l.forReading(ctx, app); err != nil {
		return 0, err
	}
	k, n := l.keys.channel(app, channel), int64(0)
	err := l.reading(ctx, app, func(ctx context.Context) (err error) {
		n, err = countScript.Exec(ctx, l.read, []string{k.stream}, []string{strconv.FormatUint(offset, 10)}).AsInt64()
		return err
	})
	switch {
	case err != nil && l.ctx.Err() != nil:
		return 0, broker.ErrClosed
	case err != nil:
		return 0, unavailable("counting", err)
	case n >= 0:
		return uint64(n), nil
	}
	return l.countOut(ctx, k, offset)
}

// countPage is how many entries countOut reads at a time.
const countPage = 1000

// countOut counts entries by reading their offsets page by page.
func (l *Log) countOut(ctx context.Context, k channelKeys, from uint64) (n uint64, err error) {
	for {
		r, err := l.scan(ctx, k, scanQuery{from: from, most: countPage, places: true})
		if err != nil {
			return 0, err
		}
		n += uint64(len(r.entries))
		if len(r.entries) < countPage {
			return n, nil
		}
		from = r.entries[countPage-1].offset + 1
	}
}
