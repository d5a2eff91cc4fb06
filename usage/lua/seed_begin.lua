-- Begin to fill a month's budget that Redis does not know, from the ledger. From here on every call that settles is
-- counted here; what lies before is for the caller to add: PostgreSQL's sum, and the events up to the one returned.
--
-- KEYS  budget, stream    ARGV  milliseconds this may take, days to keep
-- Gives {'ready'}, {'busy'} or {'begun', token, id of the last event}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local seeding = redis.call('HGET', KEYS[1], 'seeding')
if not seeding and redis.call('EXISTS', KEYS[1]) == 1 then return {'ready'} end
if seeding and tonumber(seeding) > now then return {'busy'} end
local token = string.format('%.0f', now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'spent', 0, 'seeding', token)
redis.call('HSETNX', KEYS[1], 'held', 0)
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[2]) * 86400)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {'begun', token, last[1] and last[1][1] or '0-0'}
