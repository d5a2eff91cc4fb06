-- Admit one call to all of its scopes at once, or to none. A scope sends only the limits that it sets.
--
-- KEYS  leases, holds, organizations, then the windows, the sets of running calls, the counters of periods and the grants
--       of credits, the one that ends first before the others
-- ARGV  id, lease in ms, most money, tokens needed, tokens wanted, rest of the hold, organization, how many windows, how
--       many sets, how many grants, then for each window requests and tokens a minute, for each set calls at the same
--       time, and for each counter money, requests, tokens and milliseconds of servers (empty: no limit of that kind);
--       last the money that has to be left: the most money, or less for a call that may overrun a budget; and the tokens
--       reserved at least: those needed, or for such a call those wanted
-- Gives {'ok', ms until the windows are empty, head of the hold, then per window: requests and tokens left, -1: no limit}
--    or {kind, ms until the windows are empty, number of the key among its kind, limit, used, ms to wait (-1: waiting is
--       no use or until the period ends), money that credits would have covered, then as above} with kind 'requests', 'tokens', 'concurrency', 'budget',
--       'period_requests', 'period_tokens', 'period_gpu', or 'seed' (the counter is not known here yet). Of a budget, and
--       of tokens in a period, it is a second to wait where only what other calls have reserved is in the way: they may
--       give some of it back.
--
-- A window is the last 60 seconds, one bucket a second, with running sums: never more than the limit in any minute.
-- A call without a bound on its answer needs its prompt and wants more: it reserves what is left of what it wants. One
-- that may overrun reserves all of it, for what it comes to may be more than what was left.
-- Credits are drawn on before money: an organization's own counters take only what they do not cover.
-- Sums are written as Lua has added them up, one by one until 2^53: of nano-dollars, nine million dollars in a period.
local id, lease, worst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local need, want, needed, least = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV])
if not (lease and worst and need and want and needed and least)
  or worst < needed or needed < 0 or need < 0 or want < least or least < need then
  return redis.error_reply('ERR an amount is missing or negative')
end
local time = redis.call('TIME')
local second, r_newest, t_newest = tonumber(time[1]), 'r' .. time[1], 't' .. time[1]
local now = second * 1000 + math.floor(tonumber(time[2]) / 1000)
local reset = (second + 60) * 1000 - now
local windows, sets, grants = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local counters = #KEYS - 3 - windows - sets - grants
-- Sums are written out in full, which neither Lua (1e+15) nor every Redis does of itself.
local function text(number) return string.format('%.0f', number) end

-- Sums of a window and of its newest bucket, once the buckets that are a minute old have left it.
local function slide(key)
  local head = redis.call('HMGET', key, 'at', 'r', 't', r_newest, t_newest)
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

local slid, left, refusal = {}, {}, nil
local reserve = want
for i = 1, windows do
  local key = KEYS[3 + i]
  local rpm, tpm = tonumber(ARGV[9 + 2 * i]), tonumber(ARGV[10 + 2 * i])
  local r, t, r_now, t_now = slide(key)
  slid[i] = {r, t, r_now, t_now}
  left[2 * i - 1] = rpm and math.max(0, rpm - r) or -1
  left[2 * i] = tpm and math.max(0, tpm - t) or -1
  if tpm then reserve = math.max(least, math.min(reserve, tpm - t)) end
  if not refusal then
    if rpm and r + 1 > rpm then
      refusal = {'requests', i, rpm, r, wait(key, 'r', r + 1 - rpm)}
    elseif tpm and t + need > tpm then
      refusal = {'tokens', i, tpm, t, need > tpm and -1 or wait(key, 't', t + need - tpm)}
    end
  end
end

local base = 10 + 2 * windows
for i = 1, refusal and 0 or sets do
  local most = tonumber(ARGV[base + i])
  if not refusal and redis.call('ZCOUNT', KEYS[3 + windows + i], now, '+inf') >= most then
    refusal = {'concurrency', i, most, most, 1000}
  end
end

base = base + sets
-- Of the counters of periods what they have counted and what the call may cost them; which of all are known.
local known, dues, held = {}, {}, {}
local draws, rest, unspent = {}, worst, 0
for i = 1, refusal and 0 or grants do
  local used = redis.call('HMGET', KEYS[3 + windows + sets + counters + i], 'spent', 'held', 'most', 'seeding')
  held[counters + i] = used[1] and '1' or '0'
  if worst > 0 and not refusal and (not used[1] or used[4]) then refusal = {'seed', counters + i, 0, 0, 0} end
  draws[i] = used[1] and math.max(0, math.min(rest, tonumber(used[3]) - tonumber(used[1]) - tonumber(used[2]))) or 0
  rest = rest - draws[i]
  if used[1] then unspent = unspent + math.max(0, tonumber(used[3]) - tonumber(used[1])) end
end
local function is_after_credits(key) return string.find(key, '}:organization:', 1, true) end
-- Of what a call may cost a counter, the part that has to be left there: what credits pay has not.
local function needed_of(due) return math.max(0, due - worst + needed) end

for i = 1, refusal and 0 or counters do
  local after_credits = grants > 0 and is_after_credits(KEYS[3 + windows + sets + i])
  local due = after_credits and rest or worst
  local at = base + 4 * (i - 1)
  local money, requests, tokens, gpu =
    tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local used = redis.call('HMGET', KEYS[3 + windows + sets + i], 'spent', 'held', 'requests', 'tokens', 'gpu', 'seeding',
    'held_tokens')
  known[i], dues[i] = used, due
  -- What is not known yet is not counted in: whoever fills it counts what is held.
  held[i] = used[1] and '1' or '0'
  if not refusal and (requests or tokens or gpu or (money and due > 0)) then
    if not used[1] or used[6] then
      refusal = {'seed', i, 0, 0, 0}
    else
      local spent = tonumber(used[1]) + tonumber(used[2])
      local r, t, g = tonumber(used[3]), tonumber(used[4]), tonumber(used[5])
      if tokens then reserve = math.max(least, math.min(reserve, tokens - t)) end
      if requests and r + 1 > requests then
        refusal = {'period_requests', i, requests, r, -1}
      elseif tokens and t + need > tokens then
        refusal = {'period_tokens', i, tokens, t, t - tonumber(used[7] or 0) + need <= tokens and 1000 or -1}
      elseif gpu and g >= gpu then
        refusal = {'period_gpu', i, gpu, g, -1}
      elseif money and due > 0 and spent + needed_of(due) > money then
        local part = needed_of(after_credits and math.max(0, worst - unspent) or worst)
        refusal = {'budget', i, money, spent, tonumber(used[1]) + part <= money and 1000 or -1}
      end
    end
  end
end

if refusal then
  local reply = {refusal[1], reset, refusal[2], refusal[3], refusal[4], refusal[5], worst - rest}
  for i = 1, #left do reply[#reply + 1] = left[i] end
  return reply
end

-- What the first call of a second does is done for all of that second.
local is_first = false
for i = 1, windows do
  local key, w = KEYS[3 + i], slid[i]
  redis.call('HSET', key, 'at', time[1], 'r', text(w[1] + 1), 't', text(w[2] + reserve),
    r_newest, text(w[3] + 1), t_newest, text(w[4] + reserve))
  if w[3] == 0 then
    redis.call('EXPIRE', key, 61)
    is_first = true
  end
  if left[2 * i - 1] >= 0 then left[2 * i - 1] = left[2 * i - 1] - 1 end
  if left[2 * i] >= 0 then left[2 * i] = math.max(0, left[2 * i] - reserve) end
end
for i = 1, sets do redis.call('ZADD', KEYS[3 + windows + i], now + lease, id) end
for i = 1, counters do
  if held[i] == '1' then
    local used = known[i]
    redis.call('HSET', KEYS[3 + windows + sets + i],
      'held', text(used[2] + dues[i]), 'requests', text(used[3] + 1), 'tokens', text(used[4] + reserve),
      'held_tokens', text((used[7] or 0) + reserve))
  end
end
for i = 1, grants do
  draws[i] = text(draws[i])
  if draws[i] ~= '0' then redis.call('HINCRBY', KEYS[3 + windows + sets + counters + i], 'held', draws[i]) end
end
local head = time[1] .. '|' .. text(reserve) .. '|' .. ARGV[3] .. '|' .. table.concat(held) .. '|'
if grants > 0 then head = head .. table.concat(draws, ',') .. '|' end
if is_first then redis.call('SADD', KEYS[3], ARGV[7]) end
redis.call('HSET', KEYS[2], id, head .. ARGV[6])
redis.call('ZADD', KEYS[1], now + lease, id)
local reply = {'ok', reset, head}
for i = 1, #left do reply[#reply + 1] = left[i] end
return reply
