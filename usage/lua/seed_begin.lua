-- Begin to fill a counter that Redis does not know, from the records. From here on every call that settles is counted
-- here, and what those that run hold of it is counted now; what lies before is for the caller to add: PostgreSQL's sum,
-- and the events up to the one returned.
-- Redis that lost its data does not know what running calls hold either: until they had the time to say so, it is closed.
--
-- KEYS  since, counter, stream, holds
-- ARGV  milliseconds this may take, milliseconds it is closed, second at which it is forgotten, its name as it stands in
--       holds, nano-dollars granted (empty: it is no grant of credits)
-- Gives {'ready'}, {'busy'}, {'closed', for how many ms} or {'begun', token, id of the last event}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local seeding = redis.call('HGET', KEYS[2], 'seeding')
if not seeding and redis.call('HEXISTS', KEYS[2], 'spent') == 1 then return {'ready'} end
if seeding and tonumber(seeding) > now then return {'busy'} end
local function text(number) return string.format('%.0f', number) end
redis.call('SET', KEYS[1], time[1], 'NX')
local opens = tonumber(redis.call('GET', KEYS[1])) * 1000 + tonumber(ARGV[2])
if opens > now then return {'closed', text(opens - now)} end

local money, requests, tokens = 0, 0, 0
local holds = redis.call('HVALS', KEYS[4])
for i = 1, #holds do
  if string.find(holds[i], '"' .. ARGV[4] .. '"', 1, true) then
    local reserved, worst, held, draws, rest = string.match(holds[i], '^%d+|(%d+)|(%d+)|(%d*)|([%d,]*)|?(.*)$')
    local names, reservations, uncovered = cjson.decode(rest).counters, {}, tonumber(worst)
    for draw in string.gmatch(draws, '%d+') do
      reservations[#reservations + 1] = tonumber(draw)
      uncovered = uncovered - tonumber(draw)
    end
    for n = 1, #names do
      if names[n] == ARGV[4] and string.sub(held, n, n) == '1' then
        local grant = n - #names + #reservations
        if grant >= 1 then
          money = money + reservations[grant]
        else
          local is_after_credits = #reservations > 0 and string.find(ARGV[4], '^organization:')
          money = money + (is_after_credits and uncovered or tonumber(worst))
          requests, tokens = requests + 1, tokens + tonumber(reserved)
        end
      end
    end
  end
end
local token = text(now + tonumber(ARGV[1]))
redis.call('HSET', KEYS[2], 'spent', 0, 'held', text(money), 'requests', text(requests), 'tokens', text(tokens),
  'held_tokens', text(tokens), 'gpu', 0, 'seeding', token)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'most', ARGV[5]) end
redis.call('HSETNX', KEYS[2], 'born', time[1])
redis.call('EXPIREAT', KEYS[2], ARGV[3])
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
return {'begun', token, last[1] and last[1][1] or '0-0'}
