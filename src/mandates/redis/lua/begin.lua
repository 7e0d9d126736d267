#!lua
--CELLS
-- Begins a log where there is none. KEYS head, log. ARGV schema, issuer, tenant, genesis, run.
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('HSET', KEYS[1], 'epoch', '1', 'seq', '0', 'eid', ARGV[4], 'genesis', ARGV[4], 'floor', '0', 'schema', ARGV[1],
  'issuer', ARGV[2], 'tenant', ARGV[3], 'run', serving(ARGV[5]), 'run_at_ms', '0')
return 1
