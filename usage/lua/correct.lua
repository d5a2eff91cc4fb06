-- Add to a counter what it is short of, or take off what it has too much, while calls go on to use it.
--
-- KEYS  counter    ARGV  nano-dollars spent, nano-dollars held, requests, tokens, milliseconds of servers, tokens held
if redis.call('HEXISTS', KEYS[1], 'spent') == 0 or redis.call('HEXISTS', KEYS[1], 'seeding') == 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'spent', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'held', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'requests', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'tokens', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'gpu', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'held_tokens', ARGV[6])
return 1
