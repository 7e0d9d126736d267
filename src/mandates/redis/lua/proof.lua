#!lua
-- Remembers a DPoP proof once for all sidecars (RFC 9449 section 11.1), by this server's clock, whatever theirs say.
--
-- KEYS  proofs, asked
-- ARGV  the proof, for how long (ms), how many at most, the request under whose id it may come again ('' of none)
--
-- Answers first, replayed, or full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 256)
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
  redis.call('HDEL', KEYS[2], unpack(over))
end
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if until_ms and tonumber(until_ms) > now then
  local isAgain = ARGV[4] ~= '' and redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[4]
  return isAgain and 'first' or 'replayed'
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 'full' end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
return 'first'
