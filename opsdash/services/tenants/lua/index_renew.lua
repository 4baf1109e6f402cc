-- include ../../queues/lua/lock_guard.lua
return 0
