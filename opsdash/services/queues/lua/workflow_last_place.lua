-- Where the last of a queue's removed tasks was. KEYS: places. ARGV: most bytes of it. Empty: there is none.
local last = redis.pcall('LINDEX', KEYS[1], -1)
return type(last) == 'string' and #last <= tonumber(ARGV[1]) and last or ''
