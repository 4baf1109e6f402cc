-- KEYS: lease.
-- include lock_guard.lua
return 0
