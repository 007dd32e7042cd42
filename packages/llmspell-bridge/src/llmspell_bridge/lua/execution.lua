-- What belongs to one execution: its arguments, its main chunk, and an order of things while it is
-- recorded. Runs last, and takes away what scripts must not reach.

local bridge = ...
local host, finish, compile, G = bridge.host, bridge.finish, bridge.compile, bridge.G
local objects, getmetatable = bridge.objects, bridge.getmetatable
local real, raw_os, getinfo = _G, os, debug.getinfo
local type, tostring, tonumber, ipairs = type, tostring, tonumber, ipairs
local rawget, rawset, rawequal, raw_setmetatable = rawget, rawset, rawequal, setmetatable
local raw_pairs, raw_next, raw_collect = pairs, next, collectgarbage
local concat, sort, gsub = table.concat, table.sort, string.gsub
local on_luajit = real.jit ~= nil

-- With a variable to close in it, the main chunk has no tail calls, whose errors had no line.
local OPENING = on_luajit and "" or "local " .. bridge.HIDDEN .. " <close> = nil "

-- Order while a run is recorded -----------------------------------------------------------------

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return (RANK[ta] or 4) < (RANK[tb] or 4) end
  if ta == "number" or ta == "string" then return a < b end
  if ta == "boolean" then return b and not a end
  return false
end

-- What tells a key without an order of its own from others: where a function was written, what a table
-- contains. Addresses are others in each process.
local function described(v, depth)
  local t = type(v)
  if t == "function" then
    local info = getinfo(v, "S")
    return t .. info.short_src .. ":" .. info.linedefined
  elseif t ~= "table" then
    return t .. (RANK[t] and tostring(v) or "")
  elseif objects[v] ~= nil then
    return t .. tostring(v)
  elseif depth == 0 then
    return t
  end
  local parts, count = {}, 0
  for _ in raw_next, v do count = count + 1 end
  if count > 100 then return t .. count end
  for key, value in raw_next, v do
    parts[#parts + 1] = described(key, depth - 1) .. "=" .. described(value, depth - 1)
  end
  sort(parts)
  return t .. "{" .. concat(parts, ",") .. "}"
end

local function by_description(t, keys)
  local texts = {}
  for i = 1, #keys do
    texts[keys[i]] = described(keys[i], 3) .. "=" .. described(rawget(t, keys[i]), 3)
  end
  sort(keys, function(a, b) return texts[a] < texts[b] end)
end

local function ordered_keys(t)
  local keys, rest, n, m = {}, {}, 0, 0
  for key in raw_next, t do
    if RANK[type(key)] then
      n = n + 1
      keys[n] = key
    else
      m = m + 1
      rest[m] = key
    end
  end
  sort(keys, before)
  if m > 1 then by_description(t, rest) end
  for i = 1, m do keys[n + i] = rest[i] end
  return keys
end

local function raw_ordered_pairs(t)
  local keys, i = ordered_keys(t), 0
  return function()
    while true do
      i = i + 1
      local key = keys[i]
      if key == nil then return nil end
      local value = rawget(t, key)
      if value ~= nil then return key, value end
    end
  end, t, nil
end

bridge.ordered_pairs = raw_ordered_pairs

local function ordered_pairs(t)
  local meta = getmetatable(t)
  if type(t) ~= "table" or (meta ~= nil and rawget(meta, "__pairs") ~= nil) then
    return raw_pairs(t)
  end
  return raw_ordered_pairs(t)
end

local orders = raw_setmetatable({}, { __mode = "k" })

local function ordered_next(t, key)
  local order = orders[t]
  if key == nil then
    local keys = ordered_keys(t)
    order = { keys = keys, place = {} }
    for i, k in ipairs(keys) do order.place[k] = i end
    orders[t] = order
  end
  local i = key == nil and 0 or (order and order.place[key])
  if i == nil then return raw_next(t, key) end
  while true do
    i = i + 1
    local k = order.keys[i]
    if k == nil then
      orders[t] = nil
      return nil
    end
    local value = rawget(t, k)
    if value ~= nil then return k, value end
  end
end

local plain = { pairs = G.pairs, next = G.next }
local our_os, randomseed = G.os, G.math and G.math.randomseed
local clocks = our_os and { time = our_os.time, date = our_os.date, clock = our_os.clock }

local recorded_clocks = {
  time = function(t)
    if t ~= nil then return raw_os.time(t) end
    return finish(host.observe("os.time"))
  end,
  clock = function() return finish(host.observe("os.clock")) end,
  date = function(form, time)
    if time == nil then time = finish(host.observe("os.time")) end
    return raw_os.date(form, time)
  end,
}

-- What the host does between executions must not call what scripts may have put in its place: nobody
-- could interrupt that.
function bridge.begin(recording, seed)
  bridge.forget_trace()
  raw_collect("restart")
  if recording and randomseed then randomseed(seed) end
  if recording == bridge.recording then return end
  bridge.recording = recording
  local from = { pairs = recording and plain.pairs or ordered_pairs,
                 next = recording and plain.next or ordered_next }
  local into = { pairs = recording and ordered_pairs or plain.pairs,
                 next = recording and ordered_next or plain.next }
  for name, f in raw_pairs(into) do
    if rawequal(rawget(G, name), from[name]) then rawset(G, name, f) end
  end
  if clocks then
    local source = recording and recorded_clocks or clocks
    for name in raw_pairs(clocks) do rawset(our_os, name, source[name]) end
  end
end

bridge.recording = false

-- ARGS ------------------------------------------------------------------------------------------

local ARGUMENTS = {
  __metatable = false,
  __index = function(t, key)
    if type(key) ~= "string" then return nil end
    local number = tonumber(key)
    if number then return rawget(t, number) end
    local other = gsub(key, "_", "-")
    if other == key then other = gsub(key, "%-", "_") end
    return rawget(t, other)
  end,
}

function bridge.arguments(all, positional)
  rawset(G, "ARGS", raw_setmetatable(all, ARGUMENTS))
  rawset(G, "arg", positional)
end

function bridge.load_main(text, name, expression)
  local main = expression and compile(OPENING .. "return " .. text .. "\n", name, G)
  if main then
    bridge.main, bridge.main_kind = main, "expression"
    return true
  end
  local message
  main, message = compile(OPENING .. text, name, G)
  if main == nil then return nil, message end
  bridge.main, bridge.main_kind = main, true
  return true
end

function bridge.spawn_main()
  local f = bridge.main
  bridge.main = nil
  return bridge.spawn(f, bridge.main_kind)
end

function bridge.collect()
  if bridge.recording and bridge.settle_files then bridge.settle_files() end
  bridge.unpin()
  raw_collect("collect")
  -- LuaJIT keeps the values of tables with weak keys for one collection more.
  if on_luajit then
    raw_collect("collect")
    bridge.freed()
  end
end

function bridge.mentions(name)
  return rawget(G, name) ~= nil
end

-- Nothing of the real tables stays reachable: lupa looks there for `debug` on every call.
for _, name in ipairs({ "python", "debug", "io", "os", "package", "require", "dofile", "loadfile",
                        "load", "loadstring", "module", "ffi", "jit", "setfenv", "getfenv",
                        "newproxy" }) do
  real[name] = nil
end
