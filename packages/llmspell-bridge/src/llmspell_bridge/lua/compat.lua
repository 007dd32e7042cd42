-- LuaJIT: the library of Lua 5.4 where a library can give it. Runs before everything else.
-- Numbers are doubles: "integer" means a number without a fraction, up to 2^53.

local compile, seed = ...
local type, tonumber, tostring, select, error = type, tonumber, tostring, select, error
local pcall = pcall
local rawget, getmetatable = rawget, debug.getmetatable
local floor, huge, random, randomseed = math.floor, math.huge, math.random, math.randomseed
local byte, char, rep, sub = string.byte, string.char, string.rep, string.sub
local concat, unpack, newproxy = table.concat, unpack, newproxy

if not compile then jit.off() end

-- Base ------------------------------------------------------------------------------------------

function rawlen(v)
  local t = type(v)
  if t ~= "table" and t ~= "string" then error("table or string expected", 2) end
  return #v
end

local function metamethod(v, name)
  local meta = getmetatable(v)
  if type(meta) == "table" then return rawget(meta, name) end
end

local raw_tostring, formatted = tostring, string.format

function _G.tostring(...)
  local v = ...
  if type(v) == "table" then
    local name = metamethod(v, "__name")
    if type(name) == "string" and metamethod(v, "__tostring") == nil then
      return name .. ": " .. formatted("%p", v)
    end
  end
  return raw_tostring(...)
end

local raw_pairs, raw_ipairs = pairs, ipairs

local function three(a, b, c) return a, b, c end

function pairs(t)
  local own = metamethod(t, "__pairs")
  if own ~= nil then return three(own(t)) end
  return raw_pairs(t)
end

local function step(t, i)
  i = i + 1
  local v = t[i]
  if v ~= nil then return i, v end
end

function ipairs(t)
  if metamethod(t, "__index") ~= nil then return step, t, 0 end
  return raw_ipairs(t)
end

local raw_collect = collectgarbage
local GENERATIONS = { generational = true, incremental = true }
-- When the collector runs is what keeps the heap within its limit, see below: nothing for scripts.
local PACE = { stop = 0, restart = 0, setpause = 200, setstepmul = 200 }

function collectgarbage(option, ...)
  if GENERATIONS[option] then return "incremental" end
  if PACE[option] then return PACE[option] end
  return raw_collect(option, ...)
end

function warn() end                     -- stdlib.lua gives scripts another

local raw_error = error

function _G.error(message, level)
  if type(message) == "number" then level = 0 end    -- only strings get a position
  return raw_error(message, level)
end

local raw_getinfo = debug.getinfo
local gsub = string.gsub

-- There is no telling tail calls ("t") nor transferred values ("r").
local function told(what)
  if type(what) ~= "string" then return what end
  return (gsub(what, "[tr]", ""))
end

function debug.getinfo(thread, f, what)
  if type(thread) ~= "thread" then return raw_getinfo(thread, told(f)) end
  return raw_getinfo(thread, f, told(what))
end

local raw_traceback = debug.traceback

-- A message of nil is none.
function debug.traceback(thread, message, level)
  if type(thread) ~= "thread" then
    if thread ~= nil then return raw_traceback(thread, message) end
    return sub(raw_traceback("", message), 2)
  end
  if message ~= nil then return raw_traceback(thread, message, level) end
  return sub(raw_traceback(thread, "", level), 2)
end

-- The line of the only call in tail position, where there is only one.
local util, band = require("jit.util"), bit.band
local TAIL = {}
for _, f in next, { function(f) return f() end, function(f, ...) return f(...) end } do
  local last = 0
  while util.funcbc(f, last + 1) do last = last + 1 end
  TAIL[band(util.funcbc(f, last), 0xff)] = true
end

local function tail_line(f)
  local pc, found = 1, nil
  local code = util.funcbc(f, pc)
  while code do
    if TAIL[band(code, 0xff)] then
      local line = util.funcinfo(f, pc).currentline
      if found and found ~= line then return nil end
      found = line
    end
    pc = pc + 1
    code = util.funcbc(f, pc)
  end
  return found
end

-- Garbage collection. Here an allocation that finds no room fails, however much garbage there is,
-- and so may a collection. So the allocator's limit lies above that of scripts, which counts what is
-- left by a collection. That is always run to its end, and begins the earlier the less room there is:
-- at half as much again as was in use after the last one, or at the limit.
local own = { ceiling = huge, tail_line = tail_line }          -- KiB; core.lua adds `full`
local MOST = 150
local sentinel, watched = newproxy(true), false

local function tune()
  local used = raw_collect("count")
  local percent = floor(own.ceiling / used * 100)
  raw_collect("setpause", percent > MOST and MOST or percent < 105 and 105 or percent)
  if used > own.ceiling then own.full() end
  -- Garbage at once: finalized by the next collection. An error must not leave a finalizer, since it
  -- would leave the collection and what called it.
  watched = pcall(newproxy, sentinel)
end

getmetatable(sentinel).__gc = tune
raw_collect("setstepmul", 10000000)

-- At the beginning of each execution: a full heap may have ended the watch.
function own.watch()
  if not watched then tune() end
end

-- table -----------------------------------------------------------------------------------------

own.new_table = require("table.new")
table.new, table.clear = nil, nil
table.unpack = unpack
function table.pack(...) return { n = select("#", ...), ... } end

-- math ------------------------------------------------------------------------------------------

local EXACT = 2 ^ 53
math.maxinteger, math.mininteger = EXACT, -EXACT

local function integral(x)
  return x == floor(x) and x >= -EXACT and x <= EXACT
end

function math.type(...)
  local x = ...
  if select("#", ...) == 0 then error("bad argument #1 to 'type' (value expected)", 2) end
  if type(x) ~= "number" then return nil end
  return integral(x) and "integer" or "float"
end

function math.tointeger(...)
  local x = ...
  if select("#", ...) == 0 then error("bad argument #1 to 'tointeger' (value expected)", 2) end
  if type(x) == "string" then x = tonumber(x) end
  if type(x) == "number" and integral(x) then return x end
  return nil
end

local function integer_argument(x, position, name)
  local n = tonumber(x)
  if type(n) ~= "number" then
    error("bad argument #" .. position .. " to '" .. name .. "' (number expected, got "
      .. (x == nil and "no value" or type(x)) .. ")", 3)
  end
  if n ~= floor(n) or n == huge or n == -huge then
    error("bad argument #" .. position .. " to '" .. name
      .. "' (number has no integer representation)", 3)
  end
  return n
end

function math.ult(m, n)
  m, n = integer_argument(m, 1, "ult"), integer_argument(n, 2, "ult")
  if (m >= 0) == (n >= 0) then return m < n end
  return m >= 0
end

randomseed(seed)

function math.randomseed(first, second)
  if first == nil then first = random() * EXACT end
  randomseed(tonumber(first) + (tonumber(second) or 0))
end

function math.random(...)
  if select("#", ...) == 1 and (...) == 0 then return floor(random() * EXACT) end
  return random(...)
end

-- string ----------------------------------------------------------------------------------------

function string.rep(s, n, separator)
  if type(s) == "string" and type(n) == "number" then
    local unit = #s + (type(separator) == "string" and #separator or 0)
    if n * unit > 0x7fffff00 then error("resulting string too large", 2) end
  end
  return rep(s, n, separator)
end

-- Each gsub that calls a function takes some 10 KB of the C stack; as in Lua 5.4, 200 are the most.
local NESTED, nested = 190, 0

local function unnested(own, ok, ...)
  nested = nested - 1
  if ok then return ... end
  local message = (...)
  if own.calls or type(message) ~= "string" then raw_error(message, 0) end
  raw_error(message, 2)                 -- of gsub itself: a bad pattern
end

function string.gsub(s, pattern, with, most)
  local t = type(with)
  if t ~= "function" and t ~= "table" then return gsub(s, pattern, with, most) end
  if nested >= NESTED then raw_error("C stack overflow", 2) end
  local own, replace = { calls = t == "table" }, with
  if t == "function" then
    replace = function(...)
      own.calls = true
      local made = with(...)
      own.calls = false
      return made
    end
  end
  nested = nested + 1
  return unnested(own, pcall(gsub, s, pattern, replace, most))
end

-- coroutine -------------------------------------------------------------------------------------

-- A closed coroutine cannot be unwound here, but it never runs again; there are no variables to
-- close, so nobody can tell.
local closed = setmetatable({}, { __mode = "k" })
local raw_status, raw_resume = coroutine.status, coroutine.resume

function coroutine.close(co)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'close' (coroutine expected)", 2)
  end
  local status = closed[co] and "dead" or raw_status(co)
  if status ~= "suspended" and status ~= "dead" then
    error("cannot close a " .. status .. " coroutine", 2)
  end
  closed[co] = true
  return true
end

function coroutine.status(co)
  if closed[co] then return "dead" end
  return raw_status(co)
end

function coroutine.resume(co, ...)
  if closed[co] then return false, "cannot resume dead coroutine" end
  return raw_resume(co, ...)
end

-- Files -----------------------------------------------------------------------------------------

-- `write` returns the file, so that writes chain.
local files = debug.getregistry()["FILE*"].__index
local raw_write = files.write

function files.write(file, ...)
  local ok, message, code = raw_write(file, ...)
  if ok then return file end
  return ok, message, code
end

-- utf8 ------------------------------------------------------------------------------------------

local BIGGEST, LAX = 0x10FFFF, 0x7FFFFFFF

utf8 = { charpattern = "[%z\1-\127\194-\253][\128-\191]*" }

local function encoded(code, position)
  code = integer_argument(code, position, "char")
  if code < 0 or code > LAX then
    error("bad argument #" .. position .. " to 'char' (value out of range)", 3)
  end
  if code < 0x80 then return char(code) end
  local tail, first_limit = "", 0x3F
  while code > first_limit do
    tail = char(0x80 + code % 0x40) .. tail
    code = floor(code / 0x40)
    first_limit = floor(first_limit / 2)
  end
  return char(0xFF - first_limit * 2 - 1 + code) .. tail
end

function utf8.char(...)
  local made = {}
  for i = 1, select("#", ...) do made[i] = encoded((select(i, ...)), i) end
  return concat(made)
end

local LEAST = { 0x80, 0x800, 0x10000, 0x200000, 0x4000000 }   -- by number of further bytes

-- The code at `i` and the position behind it; nothing where it is no UTF-8.
local function decode(s, i, lax)
  local first = byte(s, i)
  if first < 0x80 then return first, i + 1 end
  if first < 0xC0 or first > 0xFD then return nil end
  local more, code = 1, first % 0x20
  if first >= 0xFC then more, code = 5, first % 0x02
  elseif first >= 0xF8 then more, code = 4, first % 0x04
  elseif first >= 0xF0 then more, code = 3, first % 0x08
  elseif first >= 0xE0 then more, code = 2, first % 0x10 end
  for j = i + 1, i + more do
    local b = byte(s, j)
    if b == nil or b < 0x80 or b > 0xBF then return nil end
    code = code * 0x40 + b - 0x80
  end
  if code < LEAST[more] then return nil end
  if not lax and (code > BIGGEST or (code >= 0xD800 and code <= 0xDFFF)) then return nil end
  return code, i + more + 1
end

local function continues(s, i)
  local b = byte(s, i)
  return b ~= nil and b >= 0x80 and b <= 0xBF
end

local function place(i, n)
  if i >= 0 then return i end
  if -i > n then return 0 end
  return n + i + 1
end

function utf8.codepoint(s, i, j, lax)
  local n = #s
  i = place(integer_argument(i or 1, 2, "codepoint"), n)
  j = place(integer_argument(j or i, 3, "codepoint"), n)
  if i < 1 then error("bad argument #2 to 'codepoint' (out of bounds)", 2) end
  if j > n then error("bad argument #3 to 'codepoint' (out of bounds)", 2) end
  local found, count = {}, 0
  while i <= j do
    local code, after = decode(s, i, lax)
    if code == nil then error("invalid UTF-8 code", 2) end
    count = count + 1
    found[count], i = code, after
  end
  return unpack(found, 1, count)
end

function utf8.len(s, i, j, lax)
  local n, count = #s, 0
  i = place(integer_argument(i or 1, 2, "len"), n)
  j = place(integer_argument(j or -1, 3, "len"), n)
  if i < 1 or i > n + 1 then
    error("bad argument #2 to 'len' (initial position out of bounds)", 2)
  end
  if j > n then error("bad argument #3 to 'len' (final position out of bounds)", 2) end
  while i <= j do
    local code, after = decode(s, i, lax)
    if code == nil then return nil, i end
    i, count = after, count + 1
  end
  return count
end

function utf8.offset(s, count, i)
  local n = #s
  count = integer_argument(count, 2, "offset")
  i = place(integer_argument(i or (count > 0 and 1 or n + 1), 3, "offset"), n)
  if i < 1 or i > n + 1 then error("bad argument #3 to 'offset' (position out of bounds)", 2) end
  if count == 0 then
    while i > 1 and continues(s, i) do i = i - 1 end
    return i
  end
  if continues(s, i) then error("initial position is a continuation byte", 2) end
  if count < 0 then
    while count < 0 and i > 1 do
      repeat i = i - 1 until i <= 1 or not continues(s, i)
      count = count + 1
    end
  else
    count = count - 1
    while count > 0 and i <= n do
      repeat i = i + 1 until not continues(s, i)
      count = count - 1
    end
  end
  if count == 0 then return i end
  return nil
end

function utf8.codes(s, lax)
  if type(s) ~= "string" and type(s) ~= "number" then
    error("bad argument #1 to 'codes' (string expected, got " .. type(s) .. ")", 2)
  end
  s = tostring(s)
  if continues(s, 1) then error("bad argument #1 to 'codes' (invalid UTF-8 code)", 2) end
  return function(_, i)
    i = i + 1
    while continues(s, i) do i = i + 1 end
    if i > #s then return nil end
    local code, after = decode(s, i, lax)
    if code == nil or continues(s, after) then error("invalid UTF-8 code", 2) end
    return i, code
  end, s, 0
end

return own
