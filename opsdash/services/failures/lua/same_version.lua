-- Whether a failure is still as it was read; whatever else has its name is none.
local function same_version(id, version)
  return redis.pcall('HGET', failed_entry(id), 'version') == version
end
