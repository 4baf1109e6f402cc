-- A task that was delivered again. KEYS: what is known of its runs. ARGV: what of it: ``check`` before it runs, ``begin``
-- when it does, ``on`` while it does, ``end``, or ``lost`` when it has taken its process with it; seconds to keep; most
-- processes that it may take with it; seconds of silence after which a process is gone; an instance that is proven gone, or
-- nothing; then of this process: instance, hostname, machine, pid and when that began.
-- Returns how many it took; to a check also, as a list of texts, which they were, when these are too many; or else, as a
-- third, the process that ran it and may be gone: instance, machine, pid and when that began.
-- include ../../../model/lua/own_key.lua
local MINE = {'instance', 'hostname', 'machine', 'pid', 'pid_started'}
own_key(KEYS[1], 'hash')
local function get(field) return string.sub(redis.call('HGET', KEYS[1], field) or '', 1, 300) end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local what, lost, runs = ARGV[1], tonumber(get('lost')) or 0, get('instance')
local function keep() redis.call('EXPIRE', KEYS[1], ARGV[2]) end
local function ended() redis.call('HDEL', KEYS[1], 'seen', 'began', unpack(MINE)) end
local function took(hostname, pid, began)
  lost = lost + 1
  redis.call('HSET', KEYS[1], 'lost', lost, 'lost:' .. lost, hostname .. ' ' .. pid .. ' ' .. began)
  redis.call('HDEL', KEYS[1], 'lost:' .. (lost - 20))
  keep()
end
if what == 'lost' then
  took(ARGV[7], ARGV[9], runs == ARGV[6] and get('began') or '')
  if runs == ARGV[6] then ended() end
  return {lost}
end
if what == 'begin' then
  local mine = {'seen', string.format('%.3f', now), 'began', string.format('%.3f', now)}
  for i, field in ipairs(MINE) do
    mine[#mine + 1] = field
    mine[#mine + 1] = ARGV[i + 5]
  end
  redis.call('HSET', KEYS[1], unpack(mine))
  keep()
  return {lost}
end
if what ~= 'check' then
  if runs ~= ARGV[6] then return {lost} end
  if what == 'end' then
    ended()
  else
    redis.call('HSET', KEYS[1], 'seen', string.format('%.3f', now))
    keep()
  end
  return {lost}
end
if runs ~= '' and runs ~= ARGV[6] then
  if runs == ARGV[5] or now - (tonumber(get('seen')) or 0) > tonumber(ARGV[4]) then
    took(get('hostname'), get('pid'), get('began'))
    ended()
  elseif ARGV[5] == '' then
    return {lost, {}, {runs, get('machine'), get('pid'), get('pid_started')}}
  end
end
if lost >= tonumber(ARGV[3]) then
  local which = {}
  for i = math.max(1, lost - 9), lost do which[#which + 1] = get('lost:' .. i) end
  return {lost, which}
end
return {lost}
