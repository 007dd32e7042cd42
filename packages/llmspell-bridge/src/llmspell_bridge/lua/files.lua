-- What scripts see of `os`, `io` and `package`: the security policy decides, in Python.

local bridge, level = ...
if level < 2 then return end

local host, finish, fail, copy, G = bridge.host, bridge.finish, bridge.fail, bridge.copy, bridge.G
local real, raw_io, raw_os, raw_debug = _G, io, os, debug
local type, tostring, tonumber, select, error = type, tostring, tonumber, select, error
local pcall, raw_pairs, raw_setmetatable = pcall, pairs, setmetatable
local concat, unpack = table.concat, table.unpack or unpack
local write, raw_load = host.write, load
local find, sub, gsub, gmatch = string.find, string.sub, string.gsub, string.gmatch

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
