-- Settle one call: put what it used in the place of what it reserved, free its slot, and append its usage event.
-- Money and event are one step, so that they cannot part. Settling twice changes nothing: the hold is gone, and the
-- event, which carries the same id, is inserted once. Of a call that is older than a budget, because Redis lost its data
-- or was away when the call began, only the events tell whether the budget has counted it: it is to be counted anew.
--
-- KEYS  leases, holds, stream, then for each scope: window, running, budget
-- ARGV  id, cost, tokens, event (empty: none, the call never happened), '1' to settle only if the lease has ended,
--       second of the admission (0: not by Redis; older settlements on a disk have none)
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
local second, reserved, worst, held = ARGV[6], nil, nil, nil
if hold then
  second, reserved, worst, held = string.match(hold, '^(%d+)|(%d+)|(%d+)|(%d*)|')
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
end
for i = 1, (#KEYS - 3) / 3 do
  local key, running, budget = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  if hold then
    -- A bucket that has left the window has taken its reservation along, and one that Redis lost may be another.
    local bucket = tonumber(redis.call('HGET', key, 't' .. second) or nil)
    local correction = math.max(tokens - tonumber(reserved), -(bucket or 0))
    if bucket and correction ~= 0 then
      redis.call('HINCRBY', key, 't', string.format('%.0f', correction))
      redis.call('HINCRBY', key, 't' .. second, string.format('%.0f', correction))
    end
    redis.call('ZREM', running, id)
    if string.sub(held, i, i) == '1' then redis.call('HINCRBY', budget, 'held', '-' .. worst) end
  end
  if cost ~= '0' then
    local known = redis.call('HMGET', budget, 'spent', 'born')
    if known[1] and second and tonumber(second) < tonumber(known[2] or 0) then
      redis.call('HDEL', budget, 'spent')
    elseif known[1] and hold then
      redis.call('HINCRBY', budget, 'spent', cost)
    end
  end
end
if ARGV[4] ~= '' then redis.call('XADD', KEYS[3], '*', 'e', ARGV[4]) end
return hold and 1 or 0
