package redis

import "github.com/redis/rueidis"

// A record is stored as `revision expiry time value`: expiry in milliseconds, 0 for never, and time in
// microseconds. Revisions begin at the server's time in microseconds, so that a server that lost some does
// not use them again.
//
// KEYS of all scripts: revision, records, keys in order, keys by expiry.

// tablePut writes a record if it has the expected revision, and tells the topics.
//
//	ARGV: key, value, time to live ms, expected revision or "any", PUBLISH or SPUBLISH, topics
//	answers: the new revision, or the one that stood in the way with a minus
var tablePut = rueidis.NewLuaScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local ms = math.floor(now / 1000)
for _, k in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ms, 'LIMIT', 0, 20)) do
  redis.call('HDEL', KEYS[2], k)
  redis.call('ZREM', KEYS[3], k)
  redis.call('ZREM', KEYS[4], k)
end
local revision = '0'
local have = redis.call('HGET', KEYS[2], ARGV[1])
if have then
  local r, expiry = string.match(have, '^(%d+) (%d+) ')
  if expiry == '0' or tonumber(expiry) > ms then revision = r end
end
if ARGV[4] ~= 'any' and ARGV[4] ~= revision then return '-' .. revision end
local next = tonumber(redis.call('GET', KEYS[1]) or '0') + 1
if next < now then next = now end
local text, time = string.format('%.0f', next), string.format('%.0f', now)
redis.call('SET', KEYS[1], text)
local expiry = 0
if ARGV[3] ~= '0' then expiry = ms + tonumber(ARGV[3]) end
redis.call('HSET', KEYS[2], ARGV[1], text .. ' ' .. string.format('%.0f', expiry) .. ' ' .. time .. ' ' .. ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
if expiry > 0 then
  redis.call('ZADD', KEYS[4], string.format('%.0f', expiry), ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
end
for i = 6, #ARGV do
  redis.call(ARGV[5], ARGV[i], text .. ' ' .. time .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])
end
return text
`)

// tableRead reads one record.
//
//	ARGV: key   answers: the record, empty if there is none
var tableRead = rueidis.NewLuaScriptRetryable(`
local clock = redis.call('TIME')
local have = redis.call('HGET', KEYS[2], ARGV[1])
if not have then return '' end
local expiry = tonumber(string.match(have, '^%d+ (%d+) '))
if expiry > 0 and expiry <= clock[1] * 1000 + clock[2] / 1000 then return '' end
return have
`)

// tablePage reads records in the order of their keys.
//
//	ARGV: lower bound, upper bound, most
//	answers: the number of keys, the last of them, then keys and records
var tablePage = rueidis.NewLuaScriptRetryable(`
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + clock[2] / 1000
local keys = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if #keys == 0 then return {'0', ''} end
local answer = {tostring(#keys), keys[#keys]}
for i, have in ipairs(redis.call('HMGET', KEYS[2], unpack(keys))) do
  if have then
    local expiry = tonumber(string.match(have, '^%d+ (%d+) '))
    if expiry == 0 or expiry > ms then
      answer[#answer + 1] = keys[i]
      answer[#answer + 1] = have
    end
  end
end
return answer
`)

// tablePurge removes records up to a revision.
//
//	ARGV: revision, keys
var tablePurge = rueidis.NewLuaScriptRetryable(`
for i = 2, #ARGV do
  local have = redis.call('HGET', KEYS[2], ARGV[i])
  if have and tonumber(string.match(have, '^%d+')) <= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[4], ARGV[i])
  end
end
return 1
`)
