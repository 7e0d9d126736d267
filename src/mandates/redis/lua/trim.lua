#!lua
-- Forgets entries up to one that stays known: what they did is in the cells. The snapshot says behind which entry the
-- log goes on, so that what is kept can be verified.
--
-- KEYS head, log, the new snapshot. ARGV run, seq of the last entry to forget, the time now.
-- Answers {OK, entries forgotten} or why not.
--CELLS
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'eid', 'run', 'floor')
if not head[1] then return { 'UNINITIALISED' } end
if head[4] ~= serving(ARGV[1]) then return { 'RUN' } end
if not isWhole(KEYS[2], head[2], head[3]) then return { 'GAP' } end
local upto, floor = tonumber(ARGV[2]), tonumber(head[5])
if upto <= floor or upto >= tonumber(head[2]) then return { 'OK', 0 } end
local last = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
if last == nil then return { 'GAP' } end
local prefix = KEYS[1]:sub(1, -5)
if floor > 0 then redis.call('DEL', prefix .. 'snap:' .. head[5]) end
redis.call('HSET', KEYS[3], 'epoch', last[2][2], 'seq', ARGV[2], 'eid', last[2][6], 'at', ARGV[3])
redis.call('HSET', KEYS[1], 'floor', ARGV[2], 'floor_eid', last[2][6])
return { 'OK', redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', upto + 1) .. '-0') }
