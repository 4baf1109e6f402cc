-- KEYS: list of workers, reports. ARGV: seconds of silence, the reports' names in the list. Returns those it removed.
local now, gone = redis.call('TIME'), {}
for i = 2, #KEYS do
  local told = redis.pcall('HGET', KEYS[i], 'time')
  local at = type(told) == 'string' and tonumber(told) or 0
  if tonumber(now[1]) - at > tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[i])
    redis.pcall('ZREM', KEYS[1], ARGV[i])
    table.insert(gone, ARGV[i])
  end
end
return gone
