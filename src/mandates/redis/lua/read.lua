#!lua
-- The barrier (design/3): is what the caller has applied all there is, and if not, what is missing? With no flag in its
-- first line Redis refuses it wherever it would refuse a write: on a replica, on a primary that lost its replicas, on a
-- broken disk, out of memory. It may bring cells along, which are then as of the head that it reports.
--
-- KEYS  head, log, fleet, roster, one per cell
-- ARGV  run, epoch, seq, eid (empty seq: the caller has nothing yet), most entries
--       id and row of a sidecar that says that it lives, or two empty ones
--       for each cell: kind, argument
--
-- Answers {OK, epoch, seq, eid, floor, entries, cells, roster, fleet} or why not.
--CELLS
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'eid', 'run', 'floor', 'genesis', 'floor_eid',
  'schema')
local epoch, seq, eid = head[1], head[2], head[3]
if not epoch then return { 'UNINITIALISED' } end
if head[8] ~= SCHEMA then return { 'SCHEMA' } end
if head[4] ~= serving(ARGV[1]) then return { 'RUN' } end
if not isWhole(KEYS[2], seq, eid) then return { 'GAP', epoch, seq, eid } end

local entries = {}
if ARGV[3] ~= '' then
  local own = tonumber(ARGV[3])
  if epoch ~= ARGV[2] then return { 'EPOCH', epoch, seq, eid } end
  if own > tonumber(seq) then return { 'FORK', epoch, seq, eid } end
  if own < tonumber(head[5]) then return { 'GAP', epoch, seq, eid } end
  if own == tonumber(head[5]) then
    -- The place where what is kept begins: its own entry is not kept.
    if (own == 0 and head[6] or head[7]) ~= ARGV[4] then return { 'FORK', epoch, seq, eid } end
    entries = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[5]) or {}
  elseif ARGV[3] == seq then
    if eid ~= ARGV[4] then return { 'FORK', epoch, seq, eid } end
  else
    entries = redis.call('XRANGE', KEYS[2], ARGV[3] .. '-0', '+', 'COUNT', ARGV[5] + 1)
    local applied = table.remove(entries, 1)
    if applied == nil or applied[1] ~= ARGV[3] .. '-0' then return { 'GAP', epoch, seq, eid } end
    if applied[2][6] ~= ARGV[4] then return { 'FORK', epoch, seq, eid } end
  end
end

local prefix = KEYS[1]:sub(1, -5)
-- A mandate comes with those above it, and with what was last seen of the things that its root's conditions speak of.
local function lineage(id)
  local own = fields(prefix .. 'm:' .. id)
  if own == 'corrupt' then return { own, {}, {} } end
  local about = redis.call('HMGET', prefix .. 'm:' .. id, 'lineage', 'things')
  local above, seen = {}, {}
  for each in (about[1] or ''):gmatch('%S+') do
    if each ~= id then above[#above + 1] = { each, fields(prefix .. 'm:' .. each) } end
  end
  for each in (about[2] or ''):gmatch('%S+') do
    local value = redis.pcall('HGET', prefix .. 't:' .. each, 'v')
    seen[#seen + 1] = { each, type(value) == 'table' and '' or value }
  end
  return { own, above, seen }
end

local cells = {}
for number = 1, #KEYS - 4 do
  local kind, argument = ARGV[6 + 2 * number], ARGV[7 + 2 * number]
  cells[number] = kind == 'lineage' and lineage(argument) or cell(kind, KEYS[number + 4], argument)
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[3], ARGV[6], ARGV[7]) end
local fleet = ARGV[6] ~= '' and redis.call('HGETALL', KEYS[3]) or {}
return { 'OK', epoch, seq, eid, head[5], entries, cells, redis.call('HKEYS', KEYS[4]), fleet }
