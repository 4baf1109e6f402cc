-- Deletes the record of a pause without a flag, unless there is a new pause: its text ends as ``_PAUSE`` wrote it, with
-- another epoch. KEYS: flag, info hash. ARGV: field, epoch or nothing.
if redis.call('TYPE', KEYS[2]).ok ~= 'hash' or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local told = string.match(string.sub(redis.call('HGET', KEYS[2], ARGV[1]) or '', -40), '"epoch": (%d+)}$')
if told and #told <= DIGITS and tonumber(told) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('HDEL', KEYS[2], ARGV[1])
