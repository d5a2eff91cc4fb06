-- Settle one call: put what it used in the place of what it reserved, free its slot, and append its usage event.
-- Counters and event are one step, so that they cannot part. Settling twice changes nothing: the hold is gone, and the
-- event, which carries the same id, is inserted once. Of a call that is older than a counter, because Redis lost its data
-- or was away when the call began, only the events tell whether the counter has counted it: it is to be filled anew.
--
-- What a call reserved of credits pays for it first, and the event's entry says which grants paid what. One that cost more
-- than it could be told at first takes what else is left of those that have not ended or been revoked meanwhile.
--
-- KEYS  leases, holds, stream, then the windows, the sets of running calls, the counters of periods and the grants
-- ARGV  id, cost, tokens, event (empty: none, the call never happened), '1' to settle only if the lease has ended,
--       second of the admission (0: not by Redis), how many windows, how many sets, '1' if a server was asked,
--       milliseconds it took, what it reserved of each grant (for when its hold is gone)
-- Gives 1 when there was a hold, 0 when not, -1 when the lease still runs.
local id, cost, tokens = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not tokens or tokens < 0 or not tonumber(cost) or tonumber(cost) < 0 then
  return redis.error_reply('ERR an amount is missing or negative')
end
-- Sums are written out in full, which neither Lua (1e+15) nor every Redis does of itself.
local function text(number) return string.format('%.0f', number) end
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
local second, reserved, worst, held, draws = ARGV[6], '0', '0', '', ARGV[11] or ''
if hold then
  second, reserved, worst, held, draws = string.match(hold, '^(%d+)|(%d+)|(%d+)|(%d*)|([%d,]*)')
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  for i = 4, 3 + windows do
    -- A bucket that has left the window has taken its reservation along, and one that Redis lost may be another.
    local sums = redis.call('HMGET', KEYS[i], 't', 't' .. second)
    if sums[2] then
      local correction = math.max(tokens - reserved, -sums[2])
      redis.call('HSET', KEYS[i], 't', text(sums[1] + correction), 't' .. second, text(sums[2] + correction))
    end
  end
  for i = 4 + windows, 3 + windows + sets do redis.call('ZREM', KEYS[i], id) end
end
local asked, gpu = tonumber(ARGV[9] or 0), ARGV[10] or '0'
local is_used = cost ~= '0' or tokens > 0 or asked > 0
local function is_older(born) return second and tonumber(second) < tonumber(born or 0) end

local reservations, taken = {}, {}
local drawable, due = 0, tonumber(cost)
for draw in string.gmatch(draws, '%d+') do
  local number = #taken + 1
  reservations[number] = tonumber(draw)
  taken[number] = math.min(due, reservations[number])
  drawable, due = drawable + reservations[number], due - taken[number]
end
local first_grant = last - #taken + 1
for number = 1, (hold and due > 0) and #taken or 0 do
  local key = KEYS[first_grant + number - 1]
  local grant = redis.call('HMGET', key, 'spent', 'held', 'most', 'seeding', 'born')
  local goes_on = tonumber(redis.call('TIME')[1]) < tonumber(string.match(key, '(%d+)$'))
  if grant[1] and goes_on and not grant[4] and not is_older(grant[5]) then
    local more = math.max(0, math.min(due, tonumber(grant[3]) - tonumber(grant[1]) - tonumber(grant[2])))
    taken[number], due = taken[number] + more, due - more
  end
end

for i = 4 + windows + sets, last do
  local key, number = KEYS[i], i - 3 - windows - sets
  local used = redis.call('HMGET', key, 'spent', 'held', 'requests', 'tokens', 'gpu', 'born', 'held_tokens')
  if used[1] and is_used and is_older(used[6]) then
    redis.call('HDEL', key, 'spent')
  elseif used[1] and hold then
    -- What it counts of the hold: all or nothing.
    local share, grant = tonumber(string.sub(held, number, number)) or 0, i - first_grant + 1
    if grant >= 1 then
      redis.call('HSET', key,
        'spent', text(used[1] + taken[grant]), 'held', text(used[2] - share * reservations[grant]))
    else
      -- An organization's own counters take what credits do not cover. Of tokens held there is nothing to give back where
      -- a gateway of the version before let the call in.
      local is_after_credits = draws ~= '' and string.find(key, '}:organization:', 1, true)
      redis.call('HSET', key,
        'spent', text(used[1] + (is_after_credits and due or cost)),
        'held', text(used[2] - share * (is_after_credits and worst - drawable or worst)),
        'requests', text(used[3] - share + asked),
        'tokens', text(used[4] - share * reserved + tokens),
        'held_tokens', text(math.max(0, (used[7] or 0) - share * reserved)),
        'gpu', text(used[5] + gpu))
    end
  end
end
if ARGV[4] ~= '' and draws == '' then
  redis.call('XADD', KEYS[3], '*', 'e', ARGV[4])
elseif ARGV[4] ~= '' then
  local drawn = {}
  for number = 1, #taken do
    if taken[number] > 0 then
      local id = string.match(KEYS[first_grant + number - 1], '}:credit:(.-):used:')
      drawn[#drawn + 1] = string.format('"%s":%.0f', id, taken[number])
    end
  end
  if #drawn > 0 then
    redis.call('XADD', KEYS[3], '*', 'e', ARGV[4], 'd', '{' .. table.concat(drawn, ',') .. '}')
  else
    redis.call('XADD', KEYS[3], '*', 'e', ARGV[4])
  end
end
return hold and 1 or 0
