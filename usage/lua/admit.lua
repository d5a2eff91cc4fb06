-- Admit one call to all of its scopes at once, or to none.
--
-- KEYS  leases, holds, organizations, then for each scope: window, running, budget
-- ARGV  id, lease in ms, most money, tokens needed, tokens wanted, rest of the hold, organization, then for each scope:
--       requests a minute, tokens a minute, calls at the same time, money (empty: no limit of that kind)
-- Gives {'ok', ms until the window is empty, head of the hold, then per scope: requests and tokens left}
--    or {kind, ms until the window is empty, scope, limit, used, ms to wait (-1: waiting is no use), then as above}
--       with kind 'requests', 'tokens', 'concurrency', 'budget' or 'seed' (the budget is not known here yet).
--
-- A window is the last 60 seconds, one bucket a second, with running sums: never more than the limit in any minute.
-- A call without a bound on its answer needs its prompt and wants more: it reserves what is left of what it wants.
local id, lease, worst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local need, want = tonumber(ARGV[4]), tonumber(ARGV[5])
if not (lease and worst and need and want) or worst < 0 or need < 0 or want < need then
  return redis.error_reply('ERR an amount is missing or negative')
end
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000 + math.floor(tonumber(time[2]) / 1000)
local reset = (second + 60) * 1000 - now
local scopes = (#KEYS - 3) / 3

-- Sums of a window and of its newest bucket, once the buckets that are a minute old have left it.
local function slide(key)
  local head = redis.call('HMGET', key, 'at', 'r', 't', 'r' .. second, 't' .. second)
  local at = tonumber(head[1] or nil)
  if not at then return 0, 0, 0, 0 end
  local r, t = tonumber(head[2]), tonumber(head[3])
  if second - at >= 60 then
    redis.call('DEL', key)
    return 0, 0, 0, 0
  end
  if second > at then
    local names = {}
    for s = at - 59, second - 60 do
      names[#names + 1] = 'r' .. s
      names[#names + 1] = 't' .. s
    end
    local left = redis.call('HMGET', key, unpack(names))
    for i = 1, #left, 2 do
      r = r - tonumber(left[i] or 0)
      t = t - tonumber(left[i + 1] or 0)
    end
    redis.call('HDEL', key, unpack(names))
    redis.call('HSET', key, 'at', second, 'r', r, 't', t)
  end
  return r, t, tonumber(head[4] or 0), tonumber(head[5] or 0)
end

-- Milliseconds until `excess` of what is in the window has left it; -1 when even an empty window is too small.
local function wait(key, letter, excess)
  local names = {}
  for s = second - 59, second do names[#names + 1] = letter .. s end
  local buckets = redis.call('HMGET', key, unpack(names))
  for i = 1, #buckets do
    excess = excess - tonumber(buckets[i] or 0)
    if excess <= 0 then return (second - 59 + i - 1 + 60) * 1000 - now end
  end
  return -1
end

local windows, left, refusal = {}, {}, nil
local reserve = want
for i = 1, scopes do
  local key, running, budget = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local base = 7 + 4 * (i - 1)
  local rpm, tpm = tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2])
  local most, money = tonumber(ARGV[base + 3]), tonumber(ARGV[base + 4])
  local r, t, r_now, t_now = slide(key)
  windows[i] = {r, t, r_now, t_now}
  left[2 * i - 1], left[2 * i] = math.max(0, rpm - r), math.max(0, tpm - t)
  reserve = math.max(need, math.min(reserve, tpm - t))
  if not refusal then
    if r + 1 > rpm then
      refusal = {'requests', i, rpm, r, wait(key, 'r', r + 1 - rpm)}
    elseif t + need > tpm then
      refusal = {'tokens', i, tpm, t, need > tpm and -1 or wait(key, 't', t + need - tpm)}
    elseif most and redis.call('ZCOUNT', running, now, '+inf') >= most then
      refusal = {'concurrency', i, most, most, 1000}
    elseif money and worst > 0 then
      local held = redis.call('HMGET', budget, 'spent', 'held', 'seeding')
      if not held[1] or held[3] then
        refusal = {'seed', i, money, 0, 0}
      elseif tonumber(held[1]) + tonumber(held[2] or 0) + worst > money then
        refusal = {'budget', i, money, tonumber(held[1]) + tonumber(held[2] or 0), -1}
      end
    end
  end
end
-- Numbers are written out in full: Lua would print 1e15 as 1e+15, and a reply would cut what is over 53 bits.
local function text(number) return string.format('%.0f', number) end

if refusal then
  local reply = {refusal[1], text(reset), text(refusal[2]), text(refusal[3]), text(refusal[4]), text(refusal[5])}
  for i = 1, #left do reply[#reply + 1] = text(left[i]) end
  return reply
end

local held = {}
for i = 1, scopes do
  local key, running, budget = KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3]
  local base = 7 + 4 * (i - 1)
  local w = windows[i]
  redis.call('HSET', key, 'at', second, 'r', text(w[1] + 1), 't', text(w[2] + reserve),
    'r' .. second, text(w[3] + 1), 't' .. second, text(w[4] + reserve))
  redis.call('EXPIRE', key, 61)
  if ARGV[base + 3] ~= '' then redis.call('ZADD', running, text(now + lease), id) end
  held[i] = '0'
  if ARGV[base + 4] ~= '' and worst > 0 then
    redis.call('HINCRBY', budget, 'held', ARGV[3])
    held[i] = '1'
  end
  left[2 * i - 1] = left[2 * i - 1] - 1
  left[2 * i] = math.max(0, left[2 * i] - reserve)
end
local head = text(second) .. '|' .. text(reserve) .. '|' .. ARGV[3] .. '|' .. table.concat(held) .. '|'
redis.call('SADD', KEYS[3], ARGV[7])
redis.call('HSET', KEYS[2], id, head .. ARGV[6])
redis.call('ZADD', KEYS[1], text(now + lease), id)
local reply = {'ok', text(reset), head}
for i = 1, #left do reply[#reply + 1] = text(left[i]) end
return reply
