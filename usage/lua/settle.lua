-- Settle one call: put what it used in the place of what it reserved, free its slot, and append its usage event.
-- Money and event are one step, so that they cannot part. Settling twice changes nothing: the hold is gone, and the
-- event, which carries the same id, is inserted once.
--
-- KEYS  leases, holds, stream, then for each scope: window, running, budget
-- ARGV  id, cost, tokens, event (empty: none, the call never happened), '1' to settle only if the lease has ended
-- Gives 1 when there was a hold, 0 when not, -1 when the lease still runs.
local id, cost, tokens = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not tokens or tokens < 0 or not tonumber(cost) or tonumber(cost) < 0 then
  return redis.error_reply('ERR an amount is missing or negative')
end
local hold = redis.call('HGET', KEYS[2], id)
if ARGV[5] == '1' then
  local time = redis.call('TIME')
  local ends = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0)
  if ends > tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) then return -1 end
  redis.call('ZREM', KEYS[1], id)
  if not hold then return 0 end
end
if hold then
  local second, reserved, worst, held = string.match(hold, '^(%d+)|(%d+)|(%d+)|(%d*)|')
  local correction = tokens - tonumber(reserved)
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  for i = 1, (#KEYS - 3) / 3 do
    local key, running, budget = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
    if correction ~= 0 then
      local at = tonumber(redis.call('HGET', key, 'at') or 0)
      -- A bucket that has left the window has taken its reservation along.
      if tonumber(second) >= at - 59 and tonumber(second) <= at then
        redis.call('HINCRBY', key, 't', string.format('%.0f', correction))
        redis.call('HINCRBY', key, 't' .. second, string.format('%.0f', correction))
      end
    end
    redis.call('ZREM', running, id)
    if string.sub(held, i, i) == '1' then redis.call('HINCRBY', budget, 'held', '-' .. worst) end
    if cost ~= '0' and redis.call('EXISTS', budget) == 1 then redis.call('HINCRBY', budget, 'spent', cost) end
  end
end
if ARGV[4] ~= '' then redis.call('XADD', KEYS[3], '*', 'e', ARGV[4]) end
return hold and 1 or 0
