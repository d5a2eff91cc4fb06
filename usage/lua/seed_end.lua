-- Add what was spent before the seeding began. A seeding that took too long and was begun anew by another adds nothing.
--
-- KEYS  budget    ARGV  token, nano-dollars spent before
if redis.call('HGET', KEYS[1], 'seeding') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[2])
redis.call('HDEL', KEYS[1], 'seeding')
return 1
