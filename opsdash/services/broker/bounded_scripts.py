"""The scripts of `bounded`: each asks for sizes and reads in one step, and begins nothing that has no end."""

from __future__ import annotations

from opsdash.services.broker.messages import LARGEST

LARGE_MESSAGE = LARGEST
"""Bytes of a message that is looked into. A larger one is known by its mark, and stays where it is."""

# Some fields of each hash. In place of a value above a size: true (a number for Python). KEYS: hashes. ARGV: size,
# fields. One list per hash; a key of another type is an empty one.
FIELDS = """
local found = {}
local fields = {}
for i = 2, #ARGV do fields[i - 1] = ARGV[i] end
for i, key in ipairs(KEYS) do
  local values = redis.pcall('HMGET', key, unpack(fields))
  if values.err then
    found[i] = {}
  else
    for j, value in ipairs(values) do
      if value and #value > tonumber(ARGV[1]) then values[j] = #value end
    end
    found[i] = values
  end
end
return found
"""
# Whole hashes: nothing of one with too many fields or too large ones, nor of those above a size of all. KEYS: hashes.
# ARGV: most fields, most bytes of each hash, most of all. Returns for each its fields and values by turns, or how large
# it is.
HASHES = """
local found, all = {}, 0
for i, key in ipairs(KEYS) do
  local number = redis.pcall('HLEN', key)
  if type(number) ~= 'number' then
    found[i] = -1
  elseif number > tonumber(ARGV[1]) then
    found[i] = number
  else
    local parts, size = redis.call('HGETALL', key), 0
    for _, part in ipairs(parts) do size = size + #part end
    if size > tonumber(ARGV[2]) or all + size > tonumber(ARGV[3]) then
      found[i] = size
    else
      found[i], all = parts, all + size
    end
  end
end
return found
"""
# As much of a hash, or of a set, as is asked for: all of it where it has no more. KEYS: it. ARGV: most fields or
# members, most bytes of one. A key of another type is an empty one.
SOME_FIELDS = """
local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for i = 1, #read[2], 2 do
    looked_at = looked_at + 1
    if #read[2][i] <= 1000 and #read[2][i + 1] <= tonumber(ARGV[2]) then
      found[#found + 1], found[#found + 2] = read[2][i], read[2][i + 1]
    end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
"""
SOME_MEMBERS = """
local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for _, member in ipairs(read[2]) do
    looked_at = looked_at + 1
    if #member <= tonumber(ARGV[2]) then found[#found + 1] = member end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
"""
# Some values of a hash, the empty text in place of a large one. KEYS: hash. ARGV: cursor, about how many, most bytes of
# one and of all.
SCAN = """
local read = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, size = {}, 0
for i = 2, #read[2], 2 do
  local value = read[2][i]
  size = size + #value
  local fits = #value <= tonumber(ARGV[3]) and size <= tonumber(ARGV[4])
  found[#found + 1] = fits and value or ''
end
return {read[1], found}
"""
# KEYS: stream. ARGV: since when, until when, how many, most bytes of one.
POINTS = """
local read, found = redis.pcall('XREVRANGE', KEYS[1], ARGV[2], ARGV[1], 'COUNT', ARGV[3] + 1000), {}
if read.err then return {} end
local size = 0
for _, entry in ipairs(read) do
  local name, point = entry[2][1], entry[2][2]
  if name == 'point' and point and #point <= tonumber(ARGV[4]) then
    size = size + #point
    if size > 16000000 then break end
    found[#found + 1] = {entry[1], point}
  end
end
return found
"""
# Members of a sorted set, those with the highest scores first, or with the lowest. KEYS: it. ARGV: highest score
# (``now`` and seconds: by Redis's clock) and lowest, most members, most bytes of one, ``rising`` or nothing. Returns
# how many it has (-1: it is none), how many of those looked at were too long, then members and scores by turns.
MEMBERS = """
local total = redis.pcall('ZCOUNT', KEYS[1], '-inf', '+inf')
if type(total) ~= 'number' then return {-1, 0} end
local ahead, high = string.match(ARGV[1], '^now(.+)$'), ARGV[1]
if ahead then high = redis.call('TIME')[1] + ahead end
local read
if ARGV[5] == 'rising' then
  read = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], high, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
else
  read = redis.call('ZREVRANGEBYSCORE', KEYS[1], high, ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
end
local found, long = {total, 0}, 0
for i = 1, #read, 2 do
  if #read[i] > tonumber(ARGV[4]) then
    long = long + 1
  else
    found[#found + 1], found[#found + 2] = read[i], read[i + 1]
  end
end
found[2] = long
return found
"""
# How a script calls a message: itself, or its mark: size, beginning and end, which has kombu's delivery tag. A message
# that looks like a mark has one too, so that what looks like a mark is one.
NAMED = """
local function named(message)
  if not message or (#message <= LARGE and string.sub(message, 1, #'MARK') ~= 'MARK') then return message end
  return 'MARK' .. #message .. ':' .. string.sub(message, 1, 500) .. string.sub(message, -1500)
end
local function place_of(key, name, most)
  if string.sub(name, 1, #'MARK') ~= 'MARK' then return redis.call('LPOS', key, name, 'MAXLEN', most) end
  for at = 0, most - 1 do
    local message = redis.call('LINDEX', key, at)
    if not message then return false end
    if named(message) == name then return at end
  end
  return false
end
""".replace("LARGE", str(LARGE_MESSAGE)).replace("MARK", "\\0large:")
# Messages of a list, one by one, until there are enough of them or of their bytes, at least two where there are. A
# large one counts as so much, since whatever is done with it moves it. KEYS: list. ARGV: place, number, step (1, or -1
# from the other end), most bytes, and nothing or a message from which the place counts, looked for among so many.
# Returns whether the list ended, and the messages; nothing when that message is not there.
MESSAGES = (
    NAMED
    + """
local at, size, found = tonumber(ARGV[1]), 0, {0}
if ARGV[5] ~= '' then
  local from = place_of(KEYS[1], ARGV[5], tonumber(ARGV[6]))
  if not from then return {} end
  at = at + from
end
for i = 1, tonumber(ARGV[2]) do
  local message = redis.call('LINDEX', KEYS[1], at)
  if not message then
    found[1] = 1
    break
  end
  size = size + math.min(#message, LARGE)
  if size > tonumber(ARGV[4]) and i > 2 then break end
  found[i + 1] = named(message)
  at = at + tonumber(ARGV[3])
end
return found
""".replace("LARGE", str(LARGE_MESSAGE))
)

# The names of a hash that has not too many; those that are too long are left out. KEYS: it. ARGV: most of them, most
# bytes of one. Nothing of a key of another type.
NAMES = """
local number = redis.pcall('HLEN', KEYS[1])
if type(number) ~= 'number' or number > tonumber(ARGV[1]) then return {} end
local found = {}
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #name <= tonumber(ARGV[2]) then found[#found + 1] = name end
end
return found
"""
# Some names of a hash, and where to go on. KEYS: it. ARGV: cursor, about how many, most bytes of one.
SCAN_NAMES = """
local read, found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]), {}
for i = 1, #read[2], 2 do
  if #read[2][i] <= tonumber(ARGV[3]) then found[#found + 1] = read[2][i] end
end
return {read[1], found}
"""
# Some of the server's keys by a pattern, and where to go on. ARGV: cursor, pattern, about how many, most bytes of one.
SCAN_KEYS = """
local read, found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3]), {}
for _, key in ipairs(read[2]) do
  if #key <= tonumber(ARGV[4]) then found[#found + 1] = key end
end
return {read[1], found}
"""
# Channels that somebody listens to. ARGV: pattern, most of them, most bytes of one.
CHANNELS = """
local found = {}
for _, name in ipairs(redis.call('PUBSUB', 'CHANNELS', ARGV[1])) do
  if #found >= tonumber(ARGV[2]) then break end
  if #name <= tonumber(ARGV[3]) then found[#found + 1] = name end
end
return found
"""
# Strings, each with what a hash notes of it. KEYS: the hash, then the strings. ARGV: most bytes of all of them, of one,
# then for each its field, and how many bytes it should have, or nothing where that is not known: what has just as many
# counts for nothing. Returns the note and the string by turns: in place of one that is too large its size, and -1 where
# there was no room for it any more.
NOTED = """
local most, long, found, all = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, 0
for i = 2, #KEYS do
  local at = i * 2 - 1
  local note, text = redis.pcall('HGET', KEYS[1], ARGV[at]), redis.pcall('GET', KEYS[i])
  note = type(note) ~= 'string' and '' or #note > 100 and '?' or note -- what is too long is none of ours
  if type(text) ~= 'string' then
    text = false
  elseif #text ~= tonumber(ARGV[at + 1]) then
    if #text > long then
      text = #text
    elseif all + #text > most then
      text = -1
    else
      all = all + #text
    end
  end
  found[#found + 1], found[#found + 2] = note, text
end
return found
"""
