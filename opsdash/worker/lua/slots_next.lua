-- The next task that waits for a slot becomes unacknowledged, as if the worker had fetched it: of the best priority, and of
-- that the one that was fetched first.
-- KEYS: hash and index of what is unacknowledged, holds, then lists of waiting tasks. ARGV: id of the limit, then of each list
-- its priority step and queue. Returns how many wait after that, the list's number, the message, the field it has among
-- the unacknowledged ones, and when it was fetched first (empty: not known); without a message: there is none, or the limit is
-- over.
redis.call('HDEL', KEYS[1], '')
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 or redis.call('HEXISTS', KEYS[3], ARGV[1] .. '!') == 1 then return {0} end
local waiting, best, step, since = 0, nil, nil, nil
for i = 4, #KEYS do
  local length = redis.pcall('LLEN', KEYS[i])
  if type(length) == 'number' and length > 0 then
    waiting = waiting + length
    local order = redis.pcall('LINDEX', KEYS[i] .. ':order', -1)
    local at = tonumber(type(order) == 'string' and string.match(order, '^%S+') or '') or 0
    local own = tonumber(ARGV[2 * (i - 4) + 2])
    if not best or own < step or (own == step and at < since) then best, step, since = i, own, at end
  end
end
if not best then return {0} end
local message, queue = redis.call('LINDEX', KEYS[best], -1), ARGV[2 * (best - 4) + 3]
local now = redis.call('TIME')
now = now[1] .. '.' .. string.format('%06d', now[2])
local tag = string.match(message, '"delivery_tag"%s*:%s*"?([^",}%s]+)') or ''
if tag == '' or redis.call('HEXISTS', KEYS[1], tag) == 1 then tag = tag .. '/' .. queue .. '/' .. now end
redis.call('HSET', KEYS[1], tag, '[' .. message .. ', "", ' .. cjson.encode(queue) .. ']')
redis.call('ZADD', KEYS[2], now, tag)
local order = KEYS[best] .. ':order'
if redis.pcall('LLEN', order) == redis.call('LLEN', KEYS[best]) then redis.call('RPOP', order) end
redis.call('RPOP', KEYS[best])
return {waiting - 1, best - 4, message, tag, since > 0 and string.format('%.6f', since) or ''}
