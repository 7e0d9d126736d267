-- Shared by the scripts. A cell is one thing that a write may read: it has a stamp, the `eid` of the entry that touched
-- it last, and a write holds only while the stamps of all that it has read are what they were.

-- A key of ours that holds something else spoils what it is of, never the whole call.
local function fields(key)
  local reply = redis.pcall('HGETALL', key)
  return reply.err and 'corrupt' or reply
end

local function stampOf(key)
  local stamp = redis.pcall('HGET', key, 'at')
  if type(stamp) == 'table' then return '!' end
  return stamp or ''
end

-- Every field of a hash, or a part of the children of a mandate; the stamp of those stands in the hash itself.
local function cell(kind, key, argument)
  if kind == 'hash' then return fields(key) end
  if kind == 'entry' then return redis.call('XRANGE', key, argument .. '-0', argument .. '-0') end
  local stamp = stampOf(key)
  if kind == 'living' then
    return { stamp, redis.call('ZCOUNT', key .. ':ends', '(' .. argument, '+inf') }
  end
  if kind == 'expired' then
    return { stamp, redis.call('ZRANGEBYSCORE', key .. ':ends', '-inf', argument) }
  end
  return { stamp, redis.call('ZRANGE', key .. ':all', 0, -1) }
end

-- What is written by a build that keeps things otherwise is not read, nor written over.
local SCHEMA = '1'

-- Which history this server serves: the process, and what it replicates to others by. The second changes with every
-- promotion and every resynchronisation, after which what was there may be gone without another process.
local function serving(run)
  return run .. ' ' .. redis.call('INFO', 'replication'):match('master_replid:(%w+)')
end

-- The id of the last entry must be the head's: after a DEL a stream takes old ids again, and a quiet one looks the same.
local function isWhole(log, seq, eid)
  if seq == '0' then return redis.call('EXISTS', log) == 0 end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return last ~= nil and last[1] == seq .. '-0' and last[2][6] == eid
end
