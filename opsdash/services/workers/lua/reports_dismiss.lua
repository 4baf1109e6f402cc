-- KEYS: list of workers, reports. ARGV: seconds of silence, the reports' names in the list. Returns those it removed.
local time, gone = redis.call('TIME'), {}
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for i = 2, #KEYS do
  local told = redis.pcall('HGET', KEYS[i], 'time')
  local at = type(told) == 'string' and tonumber(told) or 0
  if now - at > tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[i])
    redis.pcall('ZREM', KEYS[1], ARGV[i])
    table.insert(gone, ARGV[i])
  end
end
return gone
