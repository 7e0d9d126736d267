#!lua
-- Who must still say what it remembers since this server began to serve (design/3, Failover): a server that is not the
-- one before may have lost what a sidecar has seen.
--
-- KEYS  head, fleet, roster, compared, pasts
-- ARGV  run, what, then
--       arrive: the run that the caller comes from ('' where it knows of none), the ids of itself and of whom it knows
--       compared, leave: the caller's own id. A server that loses what it remembers loses as well that it has left
--       gone: id and row of each that has not renewed its lease
--
-- Answers {OK} or why not.
--CELLS
local run = redis.call('HGET', KEYS[1], 'run')
if not run then return { 'UNINITIALISED' } end
local what = ARGV[2]
if what == 'arrive' then
  local isNew = run ~= serving(ARGV[1])
  if isNew then redis.call('SADD', KEYS[5], run:match('^%S+')) end
  -- The caller was served by somebody else since, of whose history nothing is known here.
  local isStranger = ARGV[3] ~= '' and ARGV[3] ~= ARGV[1] and redis.call('SISMEMBER', KEYS[5], ARGV[3]) == 0
  if isStranger then redis.call('SADD', KEYS[5], ARGV[3]) end
  if isNew or isStranger then
    local time = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'run', serving(ARGV[1]), 'run_at_ms', time[1] .. string.format('%03d', time[2] / 1000))
    redis.call('DEL', KEYS[3], KEYS[4])
    for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do redis.call('HSET', KEYS[3], id, '1') end
  end
  -- Once all have compared, what cannot be undone is done: whoever is heard of now cannot take it back.
  if redis.call('EXISTS', KEYS[3]) == 1 or isNew or isStranger then
    for number = 4, #ARGV do
      if redis.call('SISMEMBER', KEYS[4], ARGV[number]) == 0 then redis.call('HSET', KEYS[3], ARGV[number], '1') end
    end
  end
  return { 'OK' }
end
if run ~= serving(ARGV[1]) then return { 'RUN' } end

local function settled(id)
  redis.call('HDEL', KEYS[3], id)
  redis.call('SADD', KEYS[4], id)
end

if what == 'gone' then
  for number = 3, #ARGV, 2 do
    local row = redis.call('HGET', KEYS[2], ARGV[number])
    if not row or row == ARGV[number + 1] then
      redis.call('HDEL', KEYS[2], ARGV[number])
      settled(ARGV[number])
    end
  end
  return { 'OK' }
end
settled(ARGV[3])
if what == 'leave' then redis.call('HDEL', KEYS[2], ARGV[3]) end
return { 'OK' }
