#!lua
-- Who must still say what it remembers since this server began to serve (design/3, Failover): a server that is not the
-- one before may have lost what a sidecar has seen.
--
-- KEYS  head, fleet, roster, compared
-- ARGV  run, what, then
--       arrive: ids that the caller knows of
--       compared, leave: the caller's own id
--       gone: id and row of each that has not renewed its lease
--
-- Answers {OK} or why not.
--CELLS
local run = redis.call('HGET', KEYS[1], 'run')
if not run then return { 'UNINITIALISED' } end
local what = ARGV[2]
if what == 'arrive' then
  if run ~= serving(ARGV[1]) then
    redis.call('HSET', KEYS[1], 'run', serving(ARGV[1]), 'run_at', redis.call('TIME')[1])
    redis.call('DEL', KEYS[3], KEYS[4])
    for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do redis.call('HSET', KEYS[3], id, '1') end
  end
  for number = 3, #ARGV do
    if redis.call('SISMEMBER', KEYS[4], ARGV[number]) == 0 then redis.call('HSET', KEYS[3], ARGV[number], '1') end
  end
  return { 'OK' }
end
if run ~= serving(ARGV[1]) then return { 'RUN' } end
if what == 'gone' then
  for number = 3, #ARGV, 2 do
    local row = redis.call('HGET', KEYS[2], ARGV[number])
    if not row or row == ARGV[number + 1] then
      redis.call('HDEL', KEYS[2], ARGV[number])
      redis.call('HDEL', KEYS[3], ARGV[number])
      redis.call('SADD', KEYS[4], ARGV[number])
    end
  end
  return { 'OK' }
end
redis.call('HDEL', KEYS[3], ARGV[3])
redis.call('SADD', KEYS[4], ARGV[3])
if what == 'leave' then redis.call('HDEL', KEYS[2], ARGV[3]) end
return { 'OK' }
