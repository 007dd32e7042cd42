-- What scripts see of the standard library: their global table, the guarded functions in it and
-- the names that older Lua versions had.

local bridge, level, patterns = ...
local host, finish, fail, die = bridge.host, bridge.finish, bridge.fail, bridge.die
local objects, texts, running, task_of = bridge.objects, bridge.texts, bridge.running, bridge.task_of
local interrupted, trace = bridge.interrupted, bridge.trace
local real = _G
local on_luajit = real.jit ~= nil
local type, tostring, select, error, next = type, tostring, select, error, next
local pcall, raw_xpcall, rawget, rawset = pcall, xpcall, rawget, rawset
local getmetatable, raw_setmetatable = bridge.getmetatable, setmetatable
local replace_metatable = debug.setmetatable
local concat, unpack, sort = table.concat, table.unpack or unpack, table.sort
local raw_load, raw_setfenv = load, setfenv
local rawlen = rawlen or function(t) return #t end
local find, sub, byte, gsub, gmatch = string.find, string.sub, string.byte, string.gsub, string.gmatch
local raw_io, raw_os, raw_debug = io, os, debug
local getinfo, traceback = debug.getinfo, debug.traceback
local co = coroutine

-- With a variable to close in it, the main chunk has no tail calls, whose errors had no line.
local HIDDEN = "_llmspell"
local OPENING = on_luajit and "" or "local " .. HIDDEN .. " <close> = nil "
bridge.HIDDEN = HIDDEN
local raw_pairs, raw_next = pairs, next

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

-- A C function that we call for a script blames our line; `checked` blames the script's. What the
-- script itself raised meanwhile stays as it is.
local position = bridge.position
local COMPLAINTS = { "^bad argument #", "^wrong number of arguments", "^resulting string too large",
  "^cannot change a protected", "^'__tostring' must", "^too many elements", "^wrap around" }

local function blamed(name, ok, ...)
  if ok then return ... end
  local message = (...)
  if type(message) == "string" then
    local text = gsub(message, "^%[llmspell%]:%d+: ", "")
    for i = 1, #COMPLAINTS do
      if find(text, COMPLAINTS[i]) then
        text = gsub(text, "^(bad argument #%d+ to )'[^']*'", "%1'" .. name .. "'")
        error(position() .. text, 0)
      end
    end
  end
  error(message, 0)
end

local function checked(name, f)
  return function(...) return blamed(name, pcall(f, ...)) end
end

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

-- os and io -------------------------------------------------------------------------------------

if level >= 2 then
  local os = copy("time date clock difftime", raw_os, {})
  G.os = os
  function os.getenv(name) return finish(host.getenv(name)) end
  function os.tmpname() return finish(host.tmpname()) end
  function os.exit(code) return finish(host.exit(code)) end
  function os.setlocale(locale)
    if locale == nil or locale == "C" then return "C" end
    return nil
  end

  local function writable(path) return finish(host.path(path, "write")) end

  function os.remove(path)
    local real_path, message = writable(path)
    if real_path == nil then return nil, message, 13 end
    return finish(host.remove(real_path))
  end
  function os.rename(from, to)
    local real_from, message = writable(from)
    if real_from == nil then return nil, message, 13 end
    local real_to
    real_to, message = writable(to)
    if real_to == nil then return nil, message, 13 end
    return finish(host.rename(real_from, real_to))
  end
  function os.execute(command)
    if not finish(host.may_spawn()) then
      if command == nil then return false end
      return nil, "Permission denied", 1
    end
    if command == nil then return true end
    local _, how, code = finish(host.run_process(command, false, nil))
    if how == "exit" and code == 0 then return true, how, code end
    return nil, how, code
  end

  local io = {}
  G.io = io
  raw_debug.getregistry()["FILE*"].__metatable = false

  local streams = raw_setmetatable({}, { __mode = "k" })
  local function stream(methods, name)
    local file = raw_setmetatable({}, {
      __index = methods, __name = "FILE*", __metatable = false,
      __tostring = function() return "file (" .. name .. ")" end,
    })
    streams[file] = name
    bridge.opaque[file] = true
    return file
  end

  local function writer(fd, name)
    local methods = {}
    local file
    function methods.write(self, ...)
      for i = 1, select("#", ...) do
        local v = (select(i, ...))
        local t = type(v)
        if t == "number" then v = tostring(v) elseif t ~= "string" then
          return fail("bad argument #" .. i .. " to 'write' (string expected, got "
            .. (v == nil and "nil" or t) .. ")")
        end
        finish(write(fd, v))
      end
      return file
    end
    function methods.flush() finish(host.flush(fd)) return file end
    function methods.setvbuf() return true end
    function methods.close() return nil, "cannot close standard file" end
    function methods.seek() return nil, "Illegal seek", 29 end
    file = stream(methods, name)
    return file
  end

  local function read_one(what, i)
    if type(what) == "string" then
      what = sub(gsub(what, "^%*", ""), 1, 1)
      if not find(what, "^[lLna]$") then
        return fail("bad argument #" .. i .. " to 'read' (invalid format)")
      end
    elseif type(what) ~= "number" or what < 0 or what % 1 ~= 0 then
      return fail("bad argument #" .. i .. " to 'read' (invalid format)")
    end
    return finish(host.read(what))
  end
  local function read_all(...)
    local n = select("#", ...)
    if n == 0 then return read_one("l", 1) end
    local parts = {}
    for i = 1, n do
      parts[i] = read_one((select(i, ...)), i)
      if parts[i] == nil then return unpack(parts, 1, i) end
    end
    return unpack(parts, 1, n)
  end

  local input_methods = {}
  local stdin = stream(input_methods, "stdin")
  function input_methods.read(_, ...) return read_all(...) end
  function input_methods.lines(_, ...)
    local formats, n = { ... }, select("#", ...)
    return function() return read_all(unpack(formats, 1, n)) end
  end
  function input_methods.close() return nil, "cannot close standard file" end
  function input_methods.setvbuf() return true end
  function input_methods.seek() return nil, "Illegal seek", 29 end

  io.stdin, io.stdout, io.stderr = stdin, writer(1, "stdout"), writer(2, "stderr")
  local output, input = io.stdout, io.stdin

  -- While a run is recorded a file is read and written whole, so that a replay needs neither the
  -- file nor writes it again.
  local recorded = raw_setmetatable({}, { __mode = "k" })

  local function number_at(data, from)
    local first, last = find(data, "^%s*[+-]?0[xX]%x+", from)
    if not first then first, last = find(data, "^%s*[+-]?%d*%.?%d*[eE]?[+-]?%d*", from) end
    local value = first and tonumber(sub(data, first, last))
    return value, value and last + 1 or from
  end

  local function recorded_read(file, what)
    local data, at = file.data, file.at
    if type(what) == "number" then
      if at > #data then return what == 0 and #data > 0 and "" or nil end
      file.at = at + what
      return sub(data, at, at + what - 1)
    end
    local form = sub(gsub(what or "l", "^%*", ""), 1, 1)
    if form == "a" then
      file.at = #data + 1
      return sub(data, at)
    elseif form == "n" then
      local value
      value, file.at = number_at(data, at)
      return value
    elseif form ~= "l" and form ~= "L" then
      error("bad argument #1 to 'read' (invalid format)", 3)
    end
    if at > #data then return nil end
    local stop = find(data, "\n", at, true) or #data + 1
    file.at = stop + 1
    return sub(data, at, form == "L" and stop or stop - 1)
  end

  local recorded_methods = {}
  local recorded_meta = { __index = recorded_methods, __name = "FILE*", __metatable = false,
    __tostring = function() return "file (recorded)" end }

  local function state_of(self)
    local file = recorded[self]
    if file == nil or file.closed then error("attempt to use a closed file", 3) end
    return file
  end

  function recorded_methods.read(self, ...)
    local file = state_of(self)
    local n = select("#", ...)
    if n == 0 then return recorded_read(file) end
    local parts = {}
    for i = 1, n do
      parts[i] = recorded_read(file, (select(i, ...)))
      if parts[i] == nil then return unpack(parts, 1, i) end
    end
    return unpack(parts, 1, n)
  end

  function recorded_methods.lines(self, ...)
    local formats = { ... }
    return function() return self:read(unpack(formats)) end
  end

  function recorded_methods.write(self, ...)
    local file = state_of(self)
    if not file.writes then return nil, "Bad file descriptor", 9 end
    local text = concat({ ... })
    if file.append then file.at = #file.data + 1 end
    if file.at > #file.data then
      file.pieces[#file.pieces + 1] = text
      if #file.pieces > 64 then
        file.data, file.pieces = file.data .. concat(file.pieces), {}
        file.at = #file.data + 1
      end
    else
      file.data = sub(file.data, 1, file.at - 1) .. text .. sub(file.data, file.at + #text)
      file.at = file.at + #text
    end
    file.dirty = true
    return self
  end

  local function settle_file(file)
    if #file.pieces > 0 then
      file.data, file.pieces = file.data .. concat(file.pieces), {}
      file.at = #file.data + 1
    end
    if file.process then return true end
    if not file.dirty then return true end
    file.dirty = false
    return finish(host.write_file(file.path, file.data, false))
  end

  function recorded_methods.flush(self)
    local ok, message = settle_file(state_of(self))
    if not ok then return nil, message end
    return self
  end

  function recorded_methods.close(self)
    local file = state_of(self)
    file.closed = true
    recorded[self] = nil
    local ok, message = settle_file(file)
    if not file.process then return ok, message end
    if file.command then
      local _
      _, file.how, file.code = finish(host.run_process(file.command, false, file.data))
    end
    if file.how == "exit" and file.code == 0 then return true, "exit", 0 end
    return nil, file.how, file.code
  end

  function recorded_methods.seek(self, whence, offset)
    local file = state_of(self)
    if #file.pieces > 0 then settle_file(file) end
    local base = 0
    if whence == "cur" or whence == nil then base = file.at - 1 end
    if whence == "end" then base = #file.data end
    file.at = base + (offset or 0) + 1
    return file.at - 1
  end

  function recorded_methods.setvbuf() return true end

  local function recorded_file(real_path, path, mode)
    local truncates = sub(mode, 1, 1) == "w"
    local data = ""
    if not truncates then
      local found, why, code = finish(host.read_file(real_path))
      if found == nil and sub(mode, 1, 1) == "r" then
        return nil, path .. ": " .. tostring(why), code
      end
      data = found or ""
    end
    local file = raw_setmetatable({}, recorded_meta)
    bridge.opaque[file] = true
    recorded[file] = { path = real_path, data = data, at = 1, pieces = {}, dirty = truncates,
      writes = mode ~= "r" and mode ~= "rb", append = sub(mode, 1, 1) == "a" }
    return file
  end

  function bridge.settle_files()
    for _, file in raw_pairs(recorded) do
      if file.writes then settle_file(file) end
    end
  end

  function io.open(path, mode)
    mode = mode or "r"
    if not find(mode, "^[rwa]%+?b?$") then
      error("bad argument #2 to 'open' (invalid mode)", 2)
    end
    local writes = find(mode, "[wa+]") ~= nil
    local real_path, message = finish(host.path(path, writes and "write" or "read"))
    if real_path == nil then return nil, message, 13 end
    if bridge.recording then return recorded_file(real_path, path, mode) end
    local file, why, code = raw_io.open(real_path, mode)
    if file == nil then return nil, path .. sub(why, #real_path + 1), code end
    return file
  end

  function io.lines(path, ...)
    if path == nil then return input:lines(...) end
    local file, message = io.open(path)
    if file == nil then error(message, 2) end
    local formats = { ... }
    return function()
      local line = file:read(unpack(formats))
      if line == nil then file:close() end
      return line
    end
  end

  function io.popen(command, mode)
    if not finish(host.may_spawn()) then
      return nil, "Permission denied: io.popen needs allow_process_spawn", 1
    end
    if type(command) ~= "string" then
      error("bad argument #1 to 'popen' (string expected)", 2)
    end
    mode = mode or "r"
    if mode ~= "r" and mode ~= "w" then error("bad argument #2 to 'popen' (invalid mode)", 2) end
    local file = raw_setmetatable({}, recorded_meta)
    bridge.opaque[file] = true
    local state = { at = 1, pieces = {}, dirty = false, data = "", process = true }
    recorded[file] = state
    if mode == "r" then
      state.data, state.how, state.code = finish(host.run_process(command, true, nil))
    else
      state.writes, state.command = true, command
    end
    return file
  end

  function io.type(file)
    if streams[file] or recorded[file] then return "file" end
    return raw_io.type(file)
  end

  function io.write(...)
    local ok, message, code = output:write(...)
    if ok == nil then return nil, message, code end
    return output
  end
  function io.read(...) return input:read(...) end
  function io.flush() return output:flush() end
  function io.output(file)
    if type(file) == "string" then
      local opened, message = io.open(file, "w")
      if opened == nil then error(message, 2) end
      file = opened
    end
    if file ~= nil and not io.type(file) then
      return fail("bad argument #1 to 'output' (FILE* expected, got " .. type(file) .. ")")
    end
    output = file or output
    return output
  end
  function io.input(file)
    if type(file) == "string" then
      local opened, message = io.open(file)
      if opened == nil then error(message, 2) end
      file = opened
    end
    if file ~= nil and not io.type(file) then
      return fail("bad argument #1 to 'input' (FILE* expected, got " .. type(file) .. ")")
    end
    input = file or input
    return input
  end
  function io.close(file) return (file or output):close() end
  function io.tmpfile() return io.open(os.tmpname(), "w+") end

  -- package ---------------------------------------------------------------------------------------

  local package = { path = "./?.lua;./?/init.lua", cpath = "", config = real.package.config,
                    loaded = {}, preload = {} }
  G.package = package
  for name in gmatch("string table math utf8 coroutine debug os io package", "%a+") do
    package.loaded[name] = G[name]
  end
  package.loaded._G = G
  local shipped = {}
  bridge.shipped = shipped
  local function json() 
    local J = G.JSON
    return { encode = J.stringify, decode = J.parse, parse = J.parse, stringify = J.stringify,
             null = J.null, use_lpeg = nil }
  end
  shipped.json, shipped.cjson, shipped.dkjson = json, json, json

  -- Nobody means another file by this name.
  package.preload["llmspell.test"] = function()
    local function part(name, ...)
      return raw_load(finish(host.testing("source", name)), "=[llmspell]")(bridge, ...)
    end
    return part("testing", part("assertions"))
  end

  function package.searchpath(name, path)
    if type(name) ~= "string" or type(path) ~= "string" then
      return fail("bad argument to 'searchpath' (string expected)")
    end
    local found, message = finish(host.find_module(name, path))
    return found, message
  end

  function G.require(name)
    if type(name) ~= "string" then
      error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
    end
    local loaded = package.loaded[name]
    if loaded ~= nil then return loaded end
    local loader, extra = package.preload[name], ":preload:"
    if loader == nil then
      local path, tried = finish(host.find_module(name, package.path))
      if path ~= nil then
        local f, message = G.loadfile(path)
        if f == nil then
          return fail("error loading module '" .. name .. "' from file '" .. path .. "':\n\t"
            .. tostring(message))
        end
        loader, extra = f, path
      elseif shipped[name] then
        loader = shipped[name]
      else
        return fail("module '" .. name .. "' not found:\n\tno field package.preload['" .. name
          .. "']" .. tried)
      end
    end
    local value = loader(name, extra)
    if value ~= nil then package.loaded[name] = value end
    if package.loaded[name] == nil then package.loaded[name] = true end
    return package.loaded[name], extra
  end
end

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
  caught_trace = nil
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

return G
