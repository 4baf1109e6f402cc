-- One script, as atomic as MULTI: the JSON carries the epoch, which only the server can hand out.
-- A nudge that may not be published costs the workers two seconds, and the pause nothing: the doctor names the right.
-- What explains the flag is opsdash's own: another one's value there must not keep anybody from pausing or resuming.
-- A counter that can't be counted on goes on from the time in seconds: above what workers have confirmed so far.
-- First a write that needs no memory, and changes nothing: a full Redis lets the rest of the script through then.
-- include ../../../model/lua/own_key.lua
redis.call('PERSIST', KEYS[3])
own_key(KEYS[2], 'hash')
local counter = redis.call('TYPE', KEYS[3]).ok
if counter ~= 'none' then
  local text = counter == 'string' and redis.call('STRLEN', KEYS[3]) < DIGITS and redis.call('GET', KEYS[3]) or ''
  if not string.match(text, '^[1-9]%d*$') and text ~= '0' then
    redis.call('SET', KEYS[3], redis.call('TIME')[1])
  end
end
