-- What the hostname's report says of whose it is: no more of it than that can have. KEYS: it.
local found = redis.call('HMGET', KEYS[1], 'instance', 'machine', 'pid', 'pid_started')
for i = 1, 4 do found[i] = found[i] and string.sub(found[i], 1, 200) or '' end
return found
