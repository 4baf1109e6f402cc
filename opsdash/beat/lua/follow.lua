-- KEYS: paused entries, entries to run now. ARGV: fields that are read at most. Returns Redis's time, then names and values
-- of both. Keys of another type, and hashes that are too large, are not ours: they are read as empty.
local function fields(key)
  if redis.call('TYPE', key)['ok'] ~= 'hash' or redis.call('HLEN', key) > tonumber(ARGV[1]) then return {} end
  return redis.call('HGETALL', key)
end
return {redis.call('TIME'), fields(KEYS[1]), fields(KEYS[2])}
