-- Which buckets are in Redis as they were left: of each the keyed digest of the rows that it was made of, or nothing. KEYS:
-- the index, what is kept of buckets. ARGV: the beginning of a tenant's key, most tenants and bytes that are looked at, then
-- the buckets. The answer ends before the first one that is too much, but has at least one. Neither configurations nor what
-- the index has of them have a line break in them.
local room, bytes, all = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local function look(kept, first)
  local rows, digest, size, from = string.match(kept, '^(%x+) (%x+) (%d+)\n()')
  local tenants = cjson.decode(string.sub(kept, from))
  local number, keys, parts = #tenants, {}, {}
  room, bytes = room - number, bytes - size
  if (room < 0 or bytes < 0) and not first then return nil end
  for at = 1, number do keys[at] = ARGV[1] .. tenants[at] end
  local noted, found = redis.call('HMGET', KEYS[1], unpack(tenants)), redis.call('MGET', unpack(keys))
  for at = 1, number do
    local text = found[at]
    size = size - #text
    if size < 0 then return '' end
    parts[2 * at - 1], parts[2 * at] = text, noted[at]
  end
  parts[2 * number + 1] = '' -- each ends with a line break
  return redis.sha1hex(table.concat(parts, '\n')) == digest and rows or ''
end
for i = 4, #ARGV do
  local kept, worked, rows = redis.pcall('HGET', KEYS[2], ARGV[i]), true, ''
  if type(kept) == 'string' and #kept < LONGEST then worked, rows = pcall(look, kept, i == 4) end
  if worked and not rows then break end
  all[i - 3] = worked and rows or '' -- it failed: a key is gone or another type, or what is kept is none of ours
end
return all
