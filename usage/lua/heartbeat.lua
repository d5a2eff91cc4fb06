-- Extend the lease of a running call, and note how far it is: what it is settled at if its process dies.
--
-- KEYS  leases, holds, then for each scope: running
-- ARGV  id, lease in ms, rest of the hold
local hold = redis.call('HGET', KEYS[2], ARGV[1])
if not hold then return 0 end
local time = redis.call('TIME')
local ends = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
local deadline = string.format('%.0f', ends)
redis.call('HSET', KEYS[2], ARGV[1], string.match(hold, '^%d+|%d+|%d+|%d*|') .. ARGV[3])
redis.call('ZADD', KEYS[1], deadline, ARGV[1])
for i = 3, #KEYS do redis.call('ZADD', KEYS[i], 'XX', deadline, ARGV[1]) end
return 1
