-- The keys with opsdash's names are its own: a value of another type is deleted, because it would block the write.
local function own_key(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
