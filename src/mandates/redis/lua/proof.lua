#!lua
-- Remembers a DPoP proof once for all sidecars (RFC 9449 section 11.1), by this server's clock, whatever theirs say.
--
-- KEYS  proofs (`holder jti` by when it ends), requests (`until request` of it), holders (how many each has)
-- ARGV  holder, jti, for how long (ms), how many at most, how many of one holder,
--       the request under which it may come again ('' of none), for how long (ms)
--
-- Answers first, replayed, or full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 256)
for _, name in ipairs(over) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  local holder = name:match('^%S+')
  if redis.call('HINCRBY', KEYS[3], holder, -1) <= 0 then redis.call('HDEL', KEYS[3], holder) end
end
local name = ARGV[1] .. ' ' .. ARGV[2]
local ends = redis.call('ZSCORE', KEYS[1], name)
if ends and tonumber(ends) > now then
  local again = redis.call('HGET', KEYS[2], name)
  if not again or ARGV[6] == '' then return 'replayed' end
  local till, request = again:match('^(%S+) (.*)$')
  return request == ARGV[6] and now < tonumber(till) and 'first' or 'replayed'
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 'full' end
if tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0) >= tonumber(ARGV[5]) then return 'full' end
-- One that is over and not forgotten yet is shown anew: it is counted already.
if redis.call('ZADD', KEYS[1], now + ARGV[3], name) == 1 then redis.call('HINCRBY', KEYS[3], ARGV[1], 1) end
if ARGV[6] == '' then
  redis.call('HDEL', KEYS[2], name)
else
  redis.call('HSET', KEYS[2], name, string.format('%d %s', now + ARGV[7], ARGV[6]))
end
return 'first'
