#!lua
-- Appends entries and folds them into their cells: all or nothing (design/3, Write).
--
-- KEYS  head, log, roster, one per cell
-- ARGV  run, epoch, since, next epoch ('': it goes on), whole (1: not while anybody is awaited who may remember more)
--       number of cells;   for each: kind, argument, stamp ('*': not looked at)
--       number of entries; for each: nonce, event
--       operations, until the end: name, number of the entry, number of the cell, two arguments
--
-- Answers {OK, first seq, prev of the first, epoch of the entries, head seq, head eid}, {MOVED, {number, cell} ...}, or
-- why not; AWAITED with the ids of those who have yet to say what they remember.
--CELLS
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'eid', 'run', 'floor', 'schema')
local epoch, seq, eid = head[1], head[2], head[3]
if not epoch then return { 'UNINITIALISED' } end
if head[6] ~= SCHEMA then return { 'SCHEMA' } end
if head[4] ~= serving(ARGV[1]) then return { 'RUN' } end
if epoch ~= ARGV[2] then return { 'EPOCH' } end
if not isWhole(KEYS[2], seq, eid) then return { 'GAP' } end

if ARGV[5] == '1' then
  local awaited = redis.call('HKEYS', KEYS[3])
  if #awaited > 0 then return { 'AWAITED', awaited } end
end

local at = 6
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local cells, moved = tonumber(take()), {}
for number = 1, cells do
  local kind, argument, stamp = take(), take(), take()
  local key = KEYS[number + 3]
  if stamp ~= '*' and stampOf(key) ~= stamp then
    moved[#moved + 1] = { number, cell(kind, key, argument) }
  end
end

local entries = tonumber(take())
-- A write whose reply was lost is asked again: it is known by the nonce of its first entry.
if ARGV[3] ~= '' and entries > 0 then
  if tonumber(ARGV[3]) < tonumber(head[5]) then return { 'TRIMMED' } end
  local from = tonumber(ARGV[3])
  while true do
    local page = redis.call('XRANGE', KEYS[2], '(' .. from .. '-0', '+', 'COUNT', 256)
    if #page == 0 then break end
    for _, entry in ipairs(page) do
      if entry[2][8] == ARGV[at] then
        return { 'OK', tonumber(entry[1]:match('^%d+')), entry[2][4], entry[2][2], seq, eid }
      end
      from = tonumber(entry[1]:match('^%d+'))
    end
  end
end
if #moved > 0 then return { 'MOVED', moved } end

local first, before = tonumber(seq) + 1, eid
local seqs, eids, packed = {}, {}, {}
for number = 1, entries do
  local nonce, event = take(), take()
  local prev = eid
  seq = string.format('%.0f', tonumber(seq) + 1)
  eid = redis.sha1hex(prev .. '\n' .. epoch .. '\n' .. seq .. '\n' .. nonce .. '\n' .. event)
  redis.call('XADD', KEYS[2], seq .. '-0', 'ep', epoch, 'prev', prev, 'eid', eid, 'n', nonce, 'event', event)
  seqs[number], eids[number] = seq, eid
  packed[number] = epoch .. ' ' .. prev .. ' ' .. eid .. ' ' .. nonce .. ' ' .. event
end
if entries > 0 then redis.call('HSET', KEYS[1], 'seq', seq, 'eid', eid) end

while at <= #ARGV do
  local operation, entry, number, one, two = take(), tonumber(take()), tonumber(take()), take(), take()
  local key = KEYS[number + 3]
  local stamp = eids[entry] or eid
  if operation == 'version' then
    redis.call('HSET', key, 'at', stamp, 'last', stamp, seqs[entry], packed[entry])
  elseif operation == 'set' then
    redis.call('HSET', key, 'at', stamp, one, two)
  elseif operation == 'born' then
    redis.call('HSET', key, 'at', stamp)
    redis.call('ZADD', key .. ':all', seqs[entry], one)
    redis.call('ZADD', key .. ':ends', two, one)
  elseif operation == 'ends' then
    redis.call('HSET', key, 'at', stamp)
    redis.call('ZADD', key .. ':ends', two, one)
  elseif operation == 'ended' then
    redis.call('HSET', key, 'at', stamp)
    redis.call('ZREM', key .. ':ends', one)
  elseif operation == 'listed' then
    redis.call('ZADD', key, seqs[entry], one)
  elseif operation == 'receipt' then
    redis.call('HSET', key, 'at', stamp, 'v', epoch .. ' ' .. (seqs[entry] or seq) .. ' ' .. stamp .. ' ' .. one)
  end
end
-- Last: what comes after a heal is told from what came before it (design/3, Failover).
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'epoch', ARGV[4]) end
return { 'OK', first, before, epoch, seq, eid }
