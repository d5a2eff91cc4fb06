-- Begin to fill a month's budget that Redis does not know, from the ledger. From here on every call that settles is
-- counted here; what lies before is for the caller to add: PostgreSQL's sum, and the events up to the one returned.
-- Redis that lost its data does not know what running calls hold either: until they had the time to say so, it is closed.
--
-- KEYS  since, budget, stream    ARGV  milliseconds this may take, milliseconds it is closed, days to keep
-- Gives {'ready'}, {'busy'}, {'closed', for how many ms} or {'begun', token, id of the last event}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local seeding = redis.call('HGET', KEYS[2], 'seeding')
if not seeding and redis.call('HEXISTS', KEYS[2], 'spent') == 1 then return {'ready'} end
if seeding and tonumber(seeding) > now then return {'busy'} end
redis.call('SET', KEYS[1], time[1], 'NX')
local opens = tonumber(redis.call('GET', KEYS[1])) * 1000 + tonumber(ARGV[2])
if opens > now then return {'closed', string.format('%.0f', opens - now)} end
local token = string.format('%.0f', now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[2], 'spent', 0, 'seeding', token)
redis.call('HSETNX', KEYS[2], 'held', 0)
redis.call('HSETNX', KEYS[2], 'born', time[1])
redis.call('EXPIRE', KEYS[2], tonumber(ARGV[3]) * 86400)
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
return {'begun', token, last[1] and last[1][1] or '0-0'}
