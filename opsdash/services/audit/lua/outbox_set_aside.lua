-- KEYS: outbox, stream for unknown steps. ARGV: ids. Returns how many were moved.
if redis.replicate_commands then redis.replicate_commands() end
local moved = 0
for _, id in ipairs(ARGV) do
  local step = redis.call('XRANGE', KEYS[1], id, id)[1]
  if step then
    -- More than a script can hand on: what is of no use to anybody goes.
    local kept = #step[2] > 4000 or redis.pcall('XADD', KEYS[2], '*', unpack(step[2]))
    if type(kept) ~= 'table' or not kept.err then redis.call('XDEL', KEYS[1], id) moved = moved + 1 end
  end
end
return moved
