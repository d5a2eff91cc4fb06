-- Settle one call: put what it used in the place of what it reserved, free its slot, and append its usage event.
-- Counters and event are one step, so that they cannot part. Settling twice changes nothing: the hold is gone, and the
-- event, which carries the same id, is inserted once. Of a call that is older than a counter, because Redis lost its data
-- or was away when the call began, only the events tell whether the counter has counted it: it is to be filled anew.
--
-- KEYS  leases, holds, stream, then the windows, the sets of running calls and the counters of periods
-- ARGV  id, cost, tokens, event (empty: none, the call never happened), '1' to settle only if the lease has ended,
--       second of the admission (0: not by Redis), how many windows, how many sets, '1' if a server was asked,
--       milliseconds it took
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
-- What waited on a disk may be of the version before, which named other keys: its event is what counts.
local windows, sets, last = tonumber(ARGV[7] or 0), tonumber(ARGV[8] or 0), ARGV[7] and #KEYS or 3
local second, reserved, worst, held = ARGV[6], '0', '0', ''
if hold then
  second, reserved, worst, held = string.match(hold, '^(%d+)|(%d+)|(%d+)|(%d*)|')
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  for i = 4, 3 + windows do
    -- A bucket that has left the window has taken its reservation along, and one that Redis lost may be another.
    local bucket = tonumber(redis.call('HGET', KEYS[i], 't' .. second) or nil)
    local correction = math.max(tokens - tonumber(reserved), -(bucket or 0))
    if bucket and correction ~= 0 then
      redis.call('HINCRBY', KEYS[i], 't', string.format('%.0f', correction))
      redis.call('HINCRBY', KEYS[i], 't' .. second, string.format('%.0f', correction))
    end
  end
  for i = 4 + windows, 3 + windows + sets do redis.call('ZREM', KEYS[i], id) end
end
local asked, gpu = tonumber(ARGV[9] or 0), ARGV[10] or '0'
local is_used = cost ~= '0' or tokens > 0 or asked > 0
for i = 4 + windows + sets, last do
  local key, number = KEYS[i], i - 3 - windows - sets
  local known = redis.call('HMGET', key, 'spent', 'born')
  if known[1] and is_used and second and tonumber(second) < tonumber(known[2] or 0) then
    redis.call('HDEL', key, 'spent')
  elseif known[1] and hold then
    local requests, more = asked, tokens
    if string.sub(held, number, number) == '1' then
      requests, more = asked - 1, tokens - tonumber(reserved)
      if worst ~= '0' then redis.call('HINCRBY', key, 'held', '-' .. worst) end
    end
    if cost ~= '0' then redis.call('HINCRBY', key, 'spent', cost) end
    if requests ~= 0 then redis.call('HINCRBY', key, 'requests', requests) end
    if more ~= 0 then redis.call('HINCRBY', key, 'tokens', string.format('%.0f', more)) end
    if gpu ~= '0' then redis.call('HINCRBY', key, 'gpu', gpu) end
  end
end
if ARGV[4] ~= '' then redis.call('XADD', KEYS[3], '*', 'e', ARGV[4]) end
return hold and 1 or 0
