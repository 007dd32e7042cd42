-- What exists in this state, for completion. Nothing of the script's runs for it: raw access only,
-- and through `__index` where that is a table.

local bridge = ...
local G, objects = bridge.G, bridge.objects
local getmetatable, getinfo, getlocal = bridge.getmetatable, bridge.getinfo, bridge.getlocal
local type, tostring, next, select = type, tostring, next, select
local rawget, rawequal = rawget, rawequal
local sub, concat, unpack = string.sub, table.concat, table.unpack or unpack
local math_type = math.type or function(x) return "number" end

local FARTHEST, MOST, LOOKED_AT, LONGEST = 8, 1000, 20000, 100

-- The table behind `__index`, if that is one.
local function behind(value)
  local meta = getmetatable(value)
  if type(meta) ~= "table" then return nil end
  local index = rawget(meta, "__index")
  return type(index) == "table" and index or nil
end

local function own(value)
  return type(value) == "table" and value or behind(value)
end

local function field(value, key)
  local found = own(value)
  for _ = 1, FARTHEST do
    if found == nil then return nil end
    local inner = rawget(found, key)
    if inner ~= nil then return inner end
    found = behind(found)
  end
  return nil
end

-- The name of the declared global that a table is.
local function declared(value)
  for name, global in next, bridge.globals do
    if rawequal(global.T, value) then return name end
  end
  return nil
end

local function ours(value)
  local meta = getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__metatable") == false then
    return rawget(meta, "__name")
  end
  return nil
end

local function parameters(f)
  local info = getinfo(f, "u")
  local names = {}
  for i = 1, info.nparams or 0 do names[i] = getlocal(f, i) or "?" end
  if info.isvararg then names[#names + 1] = "..." end
  return "(" .. concat(names, ", ") .. ")"
end

-- Kind of a value, and what else there is to say about it.
local function told(value)
  local t = type(value)
  if t == "table" then
    local object = objects[value]
    if object ~= nil and ours(value) then return "handle", object end
    local name = declared(value)
    if name then return "global", name end
    if ours(value) then return "ours", ours(value) end
    return t, ""
  end
  if t == "function" then
    if getinfo(value, "S").what == "C" then return t, "" end
    return t, parameters(value)
  end
  if t == "number" then return math_type(value), tostring(value) end
  if t == "boolean" then return t, tostring(value) end
  -- A long one is not shown: half of a secret could not be told from other text.
  if t == "string" then return t, #value <= LONGEST and value or "" end
  return t, ""
end

-- The path is walked as far as it leads through plain values. Returns how many of its parts were
-- taken, what the value there is, and with `typed` name, kind and more of its fields that begin so.
function bridge.peek(typed, ...)
  local value, taken = G, 0
  for i = 1, select("#", ...) do
    local kind = not rawequal(value, G) and told(value)
    if kind == "handle" or kind == "global" or kind == "ours" then break end
    local inner = field(value, (select(i, ...)))
    if inner == nil then return taken end
    value, taken = inner, i
  end
  local kind, more = "table", ""
  if not rawequal(value, G) then kind, more = told(value) end
  local made, n, looked = {}, 0, 0
  if typed ~= nil and kind ~= "handle" and kind ~= "global" and kind ~= "ours" then
    local from, seen = own(value), {}
    for _ = 1, FARTHEST do
      if from == nil then break end
      for key, inner in next, from do
        looked = looked + 1
        if looked > LOOKED_AT or n >= 3 * MOST then break end
        if type(key) == "string" and #key <= LONGEST and not seen[key]
          and sub(key, 1, #typed) == typed then
          seen[key] = true
          local k, m = told(inner)
          made[n + 1], made[n + 2], made[n + 3] = key, k, m
          n = n + 3
        end
      end
      from = behind(from)
    end
  end
  return taken, kind, more, unpack(made, 1, n)
end
