-- Extend the lease of a running call, and note how far it is: what it is settled at if its process dies. A hold that was
-- lost with all of Redis is put back; of a call admitted since, a hold that is not here was settled.
--
-- KEYS  since, organizations, leases, holds, then the sets of running calls, the counters of periods and the grants
-- ARGV  id, lease in ms, head of the hold as it was admitted, rest of the hold, organization, how many sets
local id, sets = ARGV[1], tonumber(ARGV[6])
local time = redis.call('TIME')
local hold = redis.call('HGET', KEYS[4], id)
local head = hold and string.match(hold, '^%d+|%d+|%d+|%d*|[%d,]*|?') or ARGV[3]
if not hold then
  redis.call('SET', KEYS[1], time[1], 'NX')
  local second, reserved, worst, held, draws = string.match(head, '^(%d+)|(%d+)|(%d+)|(%d*)|([%d,]*)')
  if tonumber(second) > tonumber(redis.call('GET', KEYS[1])) then return 0 end
  local reservations, rest = {}, tonumber(worst)
  for draw in string.gmatch(draws, '%d+') do
    reservations[#reservations + 1] = draw
    rest = rest - tonumber(draw)
  end
  for i = 1, #held do
    local counter, grant = KEYS[4 + sets + i], i - #held + #reservations
    -- One that is not known yet counts what is held when it is filled.
    if string.sub(held, i, i) == '1' and redis.call('HEXISTS', counter, 'spent') == 1 then
      if grant >= 1 then
        redis.call('HINCRBY', counter, 'held', reservations[grant])
      else
        local is_after_credits = #reservations > 0 and string.find(counter, '}:organization:', 1, true)
        redis.call('HINCRBY', counter, 'held', is_after_credits and string.format('%.0f', rest) or worst)
        redis.call('HINCRBY', counter, 'requests', 1)
        redis.call('HINCRBY', counter, 'tokens', reserved)
        redis.call('HINCRBY', counter, 'held_tokens', reserved)
      end
    end
  end
  redis.call('SADD', KEYS[2], ARGV[5])
end
local ends = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
local deadline = string.format('%.0f', ends)
redis.call('HSET', KEYS[4], id, head .. ARGV[4])
redis.call('ZADD', KEYS[3], deadline, id)
for i = 5, 4 + sets do
  if hold then
    redis.call('ZADD', KEYS[i], 'XX', deadline, id)
  else
    redis.call('ZADD', KEYS[i], deadline, id)
  end
end
return 1
