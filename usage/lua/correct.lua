-- Add to a month's budget what it is short of, or take off what it has too much, while calls go on to use it.
--
-- KEYS  budget    ARGV  nano-dollars spent, nano-dollars held
if redis.call('HEXISTS', KEYS[1], 'spent') == 0 or redis.call('HEXISTS', KEYS[1], 'seeding') == 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'held', ARGV[2])
return 1
