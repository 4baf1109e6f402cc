-- Messages that a hold matches leave what is unacknowledged for the held ones of their queue and priority: at the place that
-- the time of their fetch gives them, as several workers fetch from one list.
-- KEYS: hash and index of what is unacknowledged, holds, the lists of holds, then a list per message. ARGV: how many messages
-- of a list to look through, what the names of held lists begin with; then for each message its field, itself, the ids of
-- holds that match, its queue, its priority step, ``1`` (it is unacknowledged here), ``0`` (its connection was lost
-- meanwhile) or ``2`` (it was acknowledged and has not begun: a copy is held), and when it was fetched first, where it has
-- waited for a slot before.
-- Answers for each: ``held``; ``copied``, there being no other trace of it; ``waiting``, where it is in its list or held
-- already; ``gone``; ``ended``: there is no such hold any more; ``refused``: Redis takes no more; ``long``: nobody would find
-- a list of such a name again. Nothing of a message is changed then; a script that failed half-way would leave open which of
-- them were moved, so nothing that is in a list may make it fail.
redis.call('HDEL', KEYS[1], '')
-- include message_identity.lua
local LOOK, WALK = tonumber(ARGV[1]), 1000
local now = redis.call('TIME')
now = now[1] .. '.' .. string.format('%06d', now[2])
local function held_by(ids, queue, step)
  for id in string.gmatch(ids, '%S+') do
    if redis.call('HEXISTS', KEYS[3], id) == 1 then
      local list = redis.pcall('HGET', KEYS[4], id .. ':' .. step .. ':' .. queue)
      if not (type(list) == 'string' and string.sub(list, 1, 1) == '!') then return id end
    end
  end
end
local function fetched_at(entry)
  return tonumber(string.match(entry, '^%S+') or '') or 0
end
local function hold(key, message, fetched)
  local order = key .. ':order'
  local length, known = redis.pcall('LLEN', key), redis.pcall('LLEN', order)
  if type(length) ~= 'number' then return false end
  local newer = {}
  if length == known then
    for _, other in ipairs(redis.call('LRANGE', order, 0, 0)) do
      if fetched_at(other) > fetched then
        for _, one in ipairs(redis.call('LRANGE', order, 0, WALK - 1)) do
          if not (fetched_at(one) > fetched) then break end
          newer[#newer + 1] = one
        end
      end
    end
  end
  local later = #newer > 0 and redis.call('LPOP', key, #newer) or {}
  local pushed = redis.pcall('LPUSH', key, message)
  for i = #later, 1, -1 do redis.call('LPUSH', key, later[i]) end
  if type(pushed) ~= 'number' then return false end
  if length == known then
    for _ = 1, #newer do redis.call('LPOP', order) end
    redis.call('LPUSH', order, string.format('%.6f', fetched) .. ' ' .. now)
    for i = #newer, 1, -1 do redis.call('LPUSH', order, newer[i]) end
  end
  return true
end
local answers = {}
for i = 5, #KEYS do
  local at = 2 + (i - 5) * 7
  local field, message, queue, step, state = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local id, answer = held_by(ARGV[at + 3], queue, step), 'ended'
  if id and #KEYS[i] > LONGEST then
    answer = 'long'
  elseif id then
    local key = ARGV[2] .. ':' .. queue .. ':' .. id .. ':' .. step
    local unacked = state ~= '2' and redis.call('HEXISTS', KEYS[1], field) == 1
    if unacked then
      answer = 'held'
    elseif state == '2' then
      answer = 'copied'
    elseif seen_in(KEYS[i], -LOOK, -1)[identity(message)] or seen_in(key, 0, LOOK - 1)[identity(message)] then
      answer = 'waiting'
    else
      answer = state == '1' and 'copied' or 'gone'
    end
    if answer == 'held' or answer == 'copied' then
      local fetched = tonumber(ARGV[at + 7]) or unacked and tonumber(redis.call('ZSCORE', KEYS[2], field) or now) or tonumber(now)
      local noted = redis.pcall('HSETNX', KEYS[4], id .. ':' .. step .. ':' .. queue, KEYS[i])
      if type(noted) ~= 'number' or not hold(key, message, fetched) then
        answer = 'refused'
      elseif unacked then
        redis.call('HDEL', KEYS[1], field)
        redis.call('ZREM', KEYS[2], field)
      end
      if looked[key] then looked[key][identity(message)] = true end
    end
  end
  answers[#answers + 1] = answer
end
return answers
