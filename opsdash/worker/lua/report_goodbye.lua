-- KEYS as above. ARGV: hostname, instance.
-- include report_ours.lua
if instance_at(KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('DEL', KEYS[2] .. mine)
redis.call('ZREM', KEYS[1], ARGV[1] .. mine)
