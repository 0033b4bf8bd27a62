package redis

import "github.com/redis/rueidis"

// clockAndInstance is Lua that reads the time and finds out which run of which server executes the script.
// The run distinguishes a log that lost a part from one that continues: see publishScript. It is read from
// INFO, which costs a few microseconds, unless the channel was written less than five milliseconds ago, in
// which no server restarts.
const clockAndInstance = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function instance()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end
`

// permission is Lua that checks whether the user may execute the commands of publishScript, because after its
// first write a refusal would come too late. It returns an error for the first command that is not permitted,
// else nothing. It takes Redis about 3 microseconds (measured with 7.0), so it runs only for a publish after
// a pause.
const permission = `
local function denied(stream, hash, id, verb, channel)
  for _, c in ipairs({{'GET', id}, {'HMGET', hash, 's'}, {'XADD', stream, '*', 'e', ''}, {'SET', id, ''}, {'HSET', hash, 's', ''}, {verb, channel, ''},
      {'PEXPIRE', stream, '1'}, {'XRANGE', stream, '-', '+'}, {'XTRIM', stream, 'MAXLEN', '1'}}) do
    local known, may = pcall(redis.acl_check_cmd, unpack(c))
    if known and not may then return redis.error_reply('NOPERM the user of the script may not execute ' .. c[1]) end
  end
end
`

// publishScript appends the events of one call to one channel, counts them, announces them, and returns for
// each its offset and whether it is a duplicate. It checks everything that can fail before it writes.
//
// A channel begins at an offset made of the server's time in microseconds, and jumps to that time when
// another run of a server finds it: offsets that the other run lost, if any, are below, and none of them is
// given to another event. This requires fewer than a million events a second in a channel, and clocks of
// servers that do not differ by more than a failover takes. If the clock is behind the channel nevertheless,
// the jump is one million offsets, more than a server loses at once.
//
// Fields of the hash: s is the newest offset, b the one before the first, t the time of the newest event, r
// the run of the server, u when r was last written, and o the time of the oldest event that was kept when
// expired ones were last removed.
//
//	KEYS: stream, hash, counts, then one key for duplicates per event
//	ARGV: live channel, PUBLISH or SPUBLISH, most messages (-1 for all), life ms,
//	      life of the hash ms, life of counts ms, most counted values,
//	      then per event: entry, N (0 if it is not counted), value, life of its id ms
var publishScript = rueidis.NewLuaScript(clockAndInstance + permission + `
local meta = redis.call('HMGET', KEYS[2], 's', 'b', 't', 'r', 'u', 'o')
local last, base, at = tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3])
local run, written, jump = meta[4], tonumber(meta[5]), 0
if not last or not written or now < written or now - written > 5000 then
  local this, no = instance(), denied(KEYS[1], KEYS[2], KEYS[4], ARGV[2], ARGV[1])
  if no then return no end
  if not last then
    last = now
    base, at, run = last, 0, this
  elseif this ~= run then
    run, jump = this, math.max(now, last + 1000000)
  end
end
-- a place that was made for somebody who waits lies in the past
if last == base then jump = math.max(jump, now) end
if now > at then at = now end
local time = string.format('%.0f', at)
local answer, stored = {}, false
for i = 0, (#ARGV - 7) / 4 - 1 do
  local entry, n, value, id = ARGV[8 + 4 * i], tonumber(ARGV[9 + 4 * i]), ARGV[10 + 4 * i], KEYS[4 + i]
  local before = redis.call('GET', id)
  if before then
    answer[#answer + 1] = before
    answer[#answer + 1] = 1
  else
    local prev = last
    last = last + 1
    if last <= jump then last = jump + 1 end
    local full = '-'
    if n > 0 then
      if redis.call('HEXISTS', KEYS[3], value) == 0 and redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[7]) then
        redis.call('DEL', KEYS[3])
      end
      full = (redis.call('HINCRBY', KEYS[3], value, 1) - 1) % n == 0 and '1' or '0'
      redis.call('PEXPIRE', KEYS[3], ARGV[6])
    end
    local offset, prior = string.format('%.0f', last), string.format('%.0f', prev)
    if ARGV[3] == '-1' then
      redis.call('XADD', KEYS[1], offset .. '-0', 'p', prior, 't', time, 'f', full, 'e', entry)
    else
      redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], offset .. '-0', 'p', prior, 't', time, 'f', full, 'e', entry)
    end
    redis.call('SET', id, offset, 'PX', ARGV[11 + 4 * i])
    redis.call('HSET', KEYS[2], 's', offset)
    redis.call(ARGV[2], ARGV[1], offset .. ' ' .. prior .. ' ' .. string.format('%.0f', base) .. ' ' .. time .. ' ' .. full .. ' ' .. entry)
    answer[#answer + 1] = offset
    answer[#answer + 1] = 0
    stored = true
  end
end
if stored then
  redis.call('HSET', KEYS[2], 'b', string.format('%.0f', base), 't', time, 'r', run, 'u', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  -- more of those that are too old go than came, and the oldest is not looked at before it may be
  local least = at - tonumber(ARGV[4]) * 1000
  if tonumber(meta[6] or '0') < least then
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', #answer + 1)
    local keep = first[#first]
    for _, e in ipairs(first) do
      if tonumber(e[2][4]) >= least then keep = e break end
    end
    redis.call('XTRIM', KEYS[1], 'MINID', keep[1])
    redis.call('HSET', KEYS[2], 'o', keep[2][4])
  end
end
return answer
`)

// touchScript extends the life of a channel's place. It creates a place if there is none and the caller wants
// one, or the channel has entries: a server that may evict keys evicted the place then.
//
//	KEYS: hash, stream (not for a probe)
//	ARGV: life ms, life of a place where nothing was stored ms, what the number of one that is made is a
//	      multiple of, 0 to make none; for a probe PUBLISH or SPUBLISH and the channel, to see whether
//	      events could be stored
//	answers: newest offset and the one before the first, both empty without a place, messages, time in microseconds
var touchScript = rueidis.NewLuaScript(clockAndInstance + permission + `
if ARGV[5] then
  local no = denied(KEYS[1], KEYS[1], KEYS[1], ARGV[4], ARGV[5])
  if no then return no end
end
local meta = redis.call('HMGET', KEYS[1], 's', 'b')
local last, base = meta[1], meta[2]
local len = KEYS[2] and redis.call('XLEN', KEYS[2]) or 0
local grain = tonumber(ARGV[3])
if not last and (grain > 0 or len > 0) then
  last = string.format('%.0f', len > 0 and now or now - now % grain)
  base = last
  redis.call('HSET', KEYS[1], 's', last, 'b', last, 't', '0', 'r', instance())
end
-- Where there is no place this writes nothing, and is refused by a replica: what it knows may be old.
redis.call('PEXPIRE', KEYS[1], last == base and ARGV[2] or ARGV[1])
return {last or '', base or '', len, string.format('%.0f', now)}
`)

// readScript reads a page and the range of retained entries, atomically.
//
//	KEYS: stream, hash
//	ARGV: from, to (0 for none), since, until (microseconds, 0 for none), most, 1 for newest first,
//	      bytes after which the page ends (0 for none), 1 for entries without what they hold
//	answers: newest offset, first offset, messages, oldest entry, newest entry, entries, 1 if bytes ended it
var readScript = rueidis.NewLuaScriptRetryable(`
local meta = redis.call('HMGET', KEYS[2], 's', 'b')
local len = redis.call('XLEN', KEYS[1])
if len == 0 then return {meta[1] or '', meta[2] or '', 0, {}, {}, {}, 0} end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
-- what they hold is not asked for, and may be large
oldest[2][8], newest[2][8] = '', ''
local function offsetOf(e) return tonumber(string.match(e[1], '^(%d+)')) end
local low, high = offsetOf(oldest), offsetOf(newest)
-- first offset whose entry was stored at or after a time
local function since(time)
  local from, to = low, high + 1
  while from < to do
    local middle = math.floor((from + to) / 2)
    local e = redis.call('XRANGE', KEYS[1], string.format('%.0f', middle) .. '-0', '+', 'COUNT', 1)[1]
    if not e or tonumber(e[2][4]) >= time then to = middle else from = offsetOf(e) + 1 end
  end
  return from
end
local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])
if to == 0 or to > high then to = high end
if from < low then from = low end
if ARGV[3] ~= '0' then from = math.max(from, since(tonumber(ARGV[3]))) end
if ARGV[4] ~= '0' then to = math.min(to, since(tonumber(ARGV[4]) + 1) - 1) end
local entries, bytes, ended = {}, 0, 0
local most, limit = tonumber(ARGV[5]), tonumber(ARGV[7])
-- with a bound of bytes a few are taken first, and then about as many as may fit
local few, largest = 1, 1
while from <= to and #entries < most and ended == 0 do
  local a, b = string.format('%.0f', from) .. '-0', string.format('%.0f', to) .. '-0'
  local count, part = most - #entries, nil
  if limit > 0 then
    count = math.min(count, few, math.max(math.floor((limit - bytes) / largest), 0) + 1)
    few = math.min(2 * few, 32)
  end
  if ARGV[6] == '1' then
    part = redis.call('XREVRANGE', KEYS[1], b, a, 'COUNT', count)
  else
    part = redis.call('XRANGE', KEYS[1], a, b, 'COUNT', count)
  end
  for _, e in ipairs(part) do
    if limit > 0 and bytes >= limit then ended = 1 break end
    entries[#entries + 1] = e
    local size = string.len(e[2][8] or '')
    bytes, largest = bytes + size, math.max(largest, size)
    if ARGV[8] == '1' then e[2][8] = '' end
  end
  if #part < count then break end
  if ARGV[6] == '1' then to = offsetOf(part[#part]) - 1 else from = offsetOf(part[#part]) + 1 end
end
return {meta[1] or '', meta[2] or '', len, oldest, newest, entries, ended}
`)

// purgeScript removes the entries before an offset. It removes an empty stream, which would be listed as a
// channel with publications.
//
//	KEYS: stream   ARGV: offset
//	answers: how many entries were removed
var purgeScript = rueidis.NewLuaScriptRetryable(`
local removed = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return removed
`)

// renewScript begins a new epoch unless another process did.
//
//	KEYS: epoch   ARGV: the present one, a new one
//	answers: the one in force, the time in microseconds
var renewScript = rueidis.NewLuaScriptRetryable(`
local have = redis.call('GET', KEYS[1])
if not have or have == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  have = ARGV[2]
end
local now = redis.call('TIME')
return {have, string.format('%s%06d', now[1], now[2])}
`)
