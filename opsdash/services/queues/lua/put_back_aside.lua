-- The newest messages that were not looked at go aside, and their digests are returned. KEYS: lease, list, kept aside, its info.
-- ARGV[3]: the newest of them, ARGV[4]: how many may have come, ARGV[5]: step, ARGV[6]: messages of this step,
-- fewer where they weigh more than MOST bytes.
-- include selective_clear_arrived.lua
local digests, size = {}, 0
for i = 1, ARGV[6] do
  local message = redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
  if not message then break end
  digests[i], size = redis.sha1hex(message), size + #message
  if size > MOST then break end
end
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
return digests
