-- Keep a policy unless the key was changed a moment ago: the reader may have read it before the change.
--
-- KEYS  policy    ARGV  text, seconds to keep
if redis.call('GET', KEYS[1]) == '' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
