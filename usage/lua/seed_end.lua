-- Add what was used before the seeding began. Nothing is added to a seeding that took too long and was begun anew by
-- another, nor to one that `settle` sent back: it counts anew.
--
-- KEYS  counter    ARGV  token, nano-dollars spent before, requests, tokens, milliseconds of servers
-- Gives 1 when the counter is known from here on, else 0.
if redis.call('HGET', KEYS[1], 'seeding') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'seeding')
if redis.call('HEXISTS', KEYS[1], 'spent') == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'requests', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'tokens', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'gpu', ARGV[5])
return 1
