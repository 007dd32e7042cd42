-- What scripts see of the standard library: their global table, the guarded functions in it and
-- the names that older Lua versions had.

local bridge, level, patterns = ...
local host, finish, fail, die = bridge.host, bridge.finish, bridge.fail, bridge.die
local objects, running, task_of = bridge.objects, bridge.running, bridge.task_of
local interrupted, trace = bridge.interrupted, bridge.trace
local real = _G
local type, tostring, tonumber, select, error = type, tostring, tonumber, select, error
local pcall, raw_xpcall, rawget = pcall, xpcall, rawget
local getmetatable, raw_setmetatable = bridge.getmetatable, setmetatable
local replace_metatable = debug.setmetatable
local concat, unpack = table.concat, table.unpack or unpack
local raw_load, raw_setfenv = load, setfenv
local rawlen = rawlen or function(t) return #t end
local find, sub, byte, gmatch = string.find, string.sub, string.byte, string.gmatch
local raw_debug = debug
local getinfo, traceback = debug.getinfo, debug.traceback
local co = coroutine

local HIDDEN = "_llmspell"              -- a variable of the main chunk, see execution.lua
bridge.HIDDEN = HIDDEN
local raw_pairs = pairs

local G = {}
G._G = G
bridge.G = G

local function copy(names, from, into)
  for name in gmatch(names, "%S+") do
    if from[name] ~= nil then into[name] = from[name] end
  end
  return into
end

local DENIED = "Security violation: Permission denied: "

local blamed, position = bridge.blamed, bridge.position

local function checked(name, f)
  return function(...) return blamed(name, pcall(f, ...)) end
end

bridge.copy = copy

-- The number that an argument is or reads as.
local function number(x, n, name)
  local found = tonumber(x)
  if found == nil then
    fail("bad argument #" .. n .. " to '" .. name .. "' (number expected, got "
      .. (x == nil and "no value" or type(x)) .. ")")
  end
  return found
end

-- Base ------------------------------------------------------------------------------------------

copy("assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select "
  .. "tonumber tostring type _VERSION", real, G)
G.rawlen = rawlen
G.unpack = unpack

local write = host.write

local function line(n, ...)
  local parts = { ... }
  for i = 1, n do
    local text = tostring(parts[i])
    if type(text) ~= "string" then error("'__tostring' must return a string", 0) end
    parts[i] = text
  end
  return concat(parts, "\t", 1, n) .. "\n"
end

function G.print(...)
  return finish(write(1, blamed("print", pcall(line, select("#", ...), ...))))
end

-- Finalizers run with hooks off, where no interrupt reaches them.
function G.setmetatable(t, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    return fail(DENIED .. "'__gc' metamethods are not allowed")
  end
  if type(t) == "table" and (type(meta) == "table" or meta == nil)
    and getmetatable(t) == bridge.ARRAY then
    replace_metatable(t, meta)          -- an empty array of the host's is an ordinary table
    return t
  end
  return blamed("setmetatable", pcall(raw_setmetatable, t, meta))
end

-- A handler would run with hooks off as well, so it runs after unwinding; the traceback of the
-- error is kept for it.
local caught_trace

function bridge.forget_trace()
  caught_trace = nil
end

local our_traceback

local function catch(value)
  if interrupted(value) then return value end
  return { caught = value, trace = traceback("", 2) }
end

local function handled(handler, ok, box, ...)
  if ok then return true, box, ... end
  local value = box
  local outer = caught_trace
  if type(box) == "table" and rawget(box, "trace") then value, caught_trace = box.caught, box.trace end
  if handler == our_traceback then
    local text = our_traceback(value)
    caught_trace = outer
    return false, text
  end
  local worked, made = pcall(handler, value)
  caught_trace = outer
  return false, made
end

function G.xpcall(f, handler, ...)
  return handled(handler, raw_xpcall(f, catch, ...))
end

local function clean(text)
  if find(text, ":", 1, true) and find(text, ":%s*then%s*%(") then return finish(host.rewrite(text)) end
  return text
end

-- LuaJIT would give a chunk whose environment is no table the engine's own.
local NOWHERE = raw_setmetatable({}, {
  __index = function() return fail("attempt to index a nil value (upvalue '_ENV')") end,
  __newindex = function() return fail("attempt to index a nil value (upvalue '_ENV')") end,
  __metatable = false,
})

local function compile(text, name, env)
  if byte(text) == 27 then
    return nil, "attempt to load a binary chunk (mode is 't')"
  end
  if raw_setfenv and type(env) ~= "table" then env = NOWHERE end
  return raw_load(clean(text), name, "t", env)
end
bridge.compile = compile

function G.load(chunk, name, mode, ...)
  local env = G
  if select("#", ...) > 0 then env = (...) end
  if type(chunk) == "function" then
    local parts = {}
    while true do
      local worked, piece = pcall(chunk)
      if not worked then return nil, piece end
      if piece == nil or piece == "" then break end
      if type(piece) ~= "string" then return nil, "reader function must return a string" end
      parts[#parts + 1] = piece
    end
    chunk = concat(parts)
    name = name or "=(load)"
  elseif type(chunk) ~= "string" then
    error("bad argument #1 to 'load' (function or string expected)", 2)
  end
  if mode == "b" then return nil, "attempt to load a text chunk (mode is 'b')" end
  return compile(chunk, name or chunk, env)
end
G.loadstring = function(text, name) return G.load(text, name) end

function G.loadfile(path, mode, ...)
  local text, name = finish(host.load_source(path))
  if text == nil then return nil, name end
  local env = G
  if select("#", ...) > 0 then env = (...) end
  return compile(text, "@" .. name, env)
end

function G.dofile(path)
  local f, message = G.loadfile(path)
  if f == nil then return fail(message) end
  return f()
end

local raw_collect = collectgarbage
G.collectgarbage = checked("collectgarbage", raw_collect)

function G.warn(...)
  return finish(write(2, "Lua warning: " .. concat({ ... }) .. "\n"))
end

-- Coroutines ------------------------------------------------------------------------------------

do
  local create, raw_yield, raw_running, status = bridge.create, co.yield, co.running, co.status
  local wrapped = { create = create, status = status }

  function wrapped.resume(thread, ...)
    if type(thread) ~= "thread" then
      error("bad argument #1 to 'resume' (coroutine expected)", 2)
    end
    if bridge.waiting[thread] or task_of[thread] then
      return false, "cannot resume non-suspended coroutine"
    end
    return bridge.continue(thread, ...)
  end

  local function unwrapped(ok, ...)
    if ok then return ... end
    local message = (...)
    if type(message) ~= "string" then error(message, 2) end
    if not find(message, "^[^\n]-:[%d?]+: ") then message = position() .. message end
    error(message, 0)
  end

  function wrapped.wrap(f)
    if type(f) ~= "function" then
      return fail("bad argument #1 to 'wrap' (function expected)")
    end
    local thread = create(f)
    return function(...)
      if bridge.waiting[thread] then error("cannot resume non-suspended coroutine", 2) end
      return unwrapped(bridge.continue(thread, ...))
    end
  end

  function wrapped.yield(...)
    local thread = raw_running()
    if thread == nil or task_of[thread] then
      error("attempt to yield from outside a coroutine", 2)
    end
    return raw_yield(...)
  end

  function wrapped.running()
    local thread = raw_running()
    return thread, task_of[thread] ~= nil
  end

  function wrapped.isyieldable()
    return task_of[raw_running()] == nil and co.isyieldable()
  end

  if co.close then
    local raw_close = co.close
    function wrapped.close(thread)
      if type(thread) ~= "thread" then
        return fail("bad argument #1 to 'close' (coroutine expected)")
      end
      if bridge.waiting[thread] or task_of[thread] then error("cannot close a running coroutine", 2) end
      local before = running[1]
      running[1] = thread
      local ok, message = raw_close(thread)
      running[1] = before
      if not ok and interrupted(message) then die() end
      return ok, message
    end
  end
  G.coroutine = wrapped
end

-- string, table, math, utf8 ---------------------------------------------------------------------

if level >= 1 then
  local string, table, math = real.string, real.table, real.math
  G.string, G.table, G.math, G.utf8 = string, table, math, real.utf8

  local rep = checked("rep", string.rep)
  function string.rep(s, n, separator)
    -- In C an empty string is repeated n times all the same.
    if s == "" and (separator == nil or separator == "") then return "" end
    return rep(s, n, separator)
  end
  for name, f in raw_pairs(patterns) do string[name] = f end
  string.gfind = string.gmatch

  -- `err.message` answers on the strings that failures are, as it did on the tables they were.
  getmetatable("").__index = function(s, key)
    local f = string[key]
    if f ~= nil then return f end
    if key == "message" then return s end
    return nil
  end

  local raw_concat = table.concat
  function table.concat(t, separator, i, j)
    local ok, text = pcall(raw_concat, t, separator, i, j)
    if ok then return text end
    if type(t) ~= "table" then error(text, 2) end
    local parts, n = {}, 0
    for index = i or 1, j or #t do
      local v = t[index]
      local meta = type(v) == "table" and getmetatable(v)
      if objects[v] ~= nil or (type(meta) == "table" and rawget(meta, "__tostring")) then
        v = tostring(v)
      end
      n = n + 1
      parts[n] = v
    end
    ok, text = pcall(raw_concat, parts, separator, 1, n)
    if ok then return text end
    error(text, 2)
  end

  -- These loop in C over a length that a metamethod may invent.
  local FAR = 10000000
  local raw_insert, raw_remove, raw_move = table.insert, table.remove, table.move
  local insert, remove = checked("insert", raw_insert), checked("remove", raw_remove)
  function table.insert(t, ...)
    if type(t) ~= "table" then return insert(t, ...) end
    if getmetatable(t) ~= nil and select("#", ...) == 2 and #t > FAR then
      error("table too long", 2)
    end
    if select("#", ...) == 1 then return raw_insert(t, (...)) end
    return insert(t, ...)
  end
  function table.remove(t, ...)
    if type(t) ~= "table" then return remove(t, ...) end
    if select("#", ...) == 0 then return raw_remove(t) end
    if getmetatable(t) ~= nil and #t > FAR then error("table too long", 2) end
    return remove(t, ...)
  end
  if raw_move then
    local move = checked("move", raw_move)
    function table.move(a, first, last, to, ...)
      if type(first) == "number" and type(last) == "number" and last - first > FAR then
        error("too many elements to move", 2)
      end
      return move(a, first, last, to, ...)
    end
  end
  table.unpack = unpack
  table.getn = function(t)
    if type(t) ~= "table" then
      return fail("bad argument #1 to 'getn' (table expected, got " .. type(t) .. ")")
    end
    return #t
  end
  table.pack = table.pack or function(...) return { n = select("#", ...), ... } end

  local exp, log = math.exp, math.log
  math.pow = math.pow or function(x, y) return number(x, 1, "pow") ^ number(y, 2, "pow") end
  math.ldexp = math.ldexp or function(m, e)
    return number(m, 1, "ldexp") * 2.0 ^ number(e, 2, "ldexp")
  end
  math.frexp = math.frexp or function(x)
    x = number(x, 1, "frexp")
    if x == 0 or x ~= x or x == math.huge or x == -math.huge then return x, 0 end
    local e = math.floor(log(x < 0 and -x or x, 2)) + 1
    local m = x / 2.0 ^ e
    if m >= 1 or m <= -1 then m, e = m / 2, e + 1 end
    if m < 0.5 and m > -0.5 then m, e = m * 2, e - 1 end
    return m, e
  end
  math.cosh = math.cosh or function(x)
    x = number(x, 1, "cosh")
    return (exp(x) + exp(-x)) / 2
  end
  math.sinh = math.sinh or function(x)
    x = number(x, 1, "sinh")
    return (exp(x) - exp(-x)) / 2
  end
  math.tanh = math.tanh or function(x)
    x = number(x, 1, "tanh")
    if x > 20 then return 1.0 elseif x < -20 then return -1.0 end
    local a, b = exp(x), exp(-x)
    return (a - b) / (a + b)
  end
  math.log10 = math.log10 or function(x) return log(number(x, 1, "log10"), 10) end
end
if real.jit then
  local jit = real.jit
  G.bit = real.bit
  G.jit = { version = jit.version, version_num = jit.version_num, os = jit.os, arch = jit.arch }
end

-- debug: reading only ---------------------------------------------------------------------------

local OURS = { ["=[llmspell]"] = true, ["=[C]"] = true }
G.debug = {}

function our_traceback(...)
  local thread, message, from
  if type((...)) == "thread" then
    thread, message, from = ...
  else
    message, from = ...
  end
  if message ~= nil and type(message) ~= "string" and type(message) ~= "number" then
    return message
  end
  if thread then return trace(thread, message, from) end
  if caught_trace then
    local text = (message and message .. "\n" or "") .. sub(caught_trace, 2)
    return bridge.cleaned(text)
  end
  local text = trace(nil, message, (from or 1) + 1)   -- no tail call: levels are counted
  return text
end
G.debug.traceback = our_traceback

-- A level may be given as text, which the C functions would take for a number.
local function level_of(f)
  return type(f) == "string" and tonumber(f) or f
end

local function hidden(info)
  return info and OURS[info.source] or false
end

if level >= 2 then
  function G.debug.getinfo(...)
    local thread, f, what
    if type((...)) == "thread" then thread, f, what = ... else f, what = ... end
    f = level_of(f)
    if type(f) ~= "number" and type(f) ~= "function" then
      return fail("bad argument #1 to 'getinfo' (function or level expected)")
    end
    if type(f) == "number" and not thread then f = f + 1 end
    local info
    if thread then info = getinfo(thread, f, what or "nSlutf")
    else info = getinfo(f, what or "nSlutf") end
    if info == nil then return nil end
    local source
    if thread then source = getinfo(thread, f, "S") else source = getinfo(f, "S") end
    if type(f) ~= "function" and hidden(source) then info.func = nil end
    return info
  end

  local raw_getlocal = raw_debug.getlocal

  local function behind_hidden(index, first)
    if first == HIDDEN and type(index) == "number" and index > 0 then return index + 1 end
    return index
  end

  function G.debug.getlocal(f, index, more)
    if type(f) == "thread" then
      index = level_of(index)
      if type(index) == "function" then return raw_getlocal(f, index, more) end
      if hidden(getinfo(f, index, "S")) then return nil end
      return raw_getlocal(f, index, behind_hidden(more, (raw_getlocal(f, index, 1))))
    end
    f = level_of(f)
    if type(f) == "function" then return raw_getlocal(f, index) end
    f = number(f, 1, "getlocal") + 1
    if hidden(getinfo(f, "S")) then return nil end
    local name, value = raw_getlocal(f, behind_hidden(index, (raw_getlocal(f, 1))))
    return name, value                  -- no tail call: LuaJIT would count one level less
  end

  function G.debug.gethook() return nil end
  function G.debug.sethook()
    return fail(DENIED .. "'debug.sethook' is not allowed")
  end
end
