-- What lies under opsdash's own names is opsdash's: a value of another type there is taken away before it is in the way.
local function own_key(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
