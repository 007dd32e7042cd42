-- What the globals Debug, Streaming and Utils can do only in Lua itself.

local bridge = ...
local natives, fail, G = bridge.natives, bridge.fail, bridge.G
local objects, texts, NULL = bridge.objects, bridge.texts, bridge.NULL
local type, tostring, next, ipairs, select, error = type, tostring, next, ipairs, select, error
local pcall, setmetatable, rawget = pcall, setmetatable, rawget
local getmetatable, checked_setmetatable = bridge.getmetatable, bridge.G.setmetatable
local format, rep, sub = string.format, string.rep, string.sub
local concat, sort, unpack = table.concat, table.sort, table.unpack or unpack
local math_type = math.type or function(x) return x % 1 == 0 and "integer" or "float" end
local raw_running, raw_yield = coroutine.running, coroutine.yield
local create, status = bridge.create, coroutine.status
local getinfo, getlocal, getupvalue = bridge.getinfo, bridge.getlocal, bridge.getupvalue
local rawlen = rawlen or function(t) return #t end

local function own(T)
  -- Colon calls pass the global first.
  return function(f)
    return function(first, ...)
      if first == T then return f(...) end
      return f(first, ...)
    end
  end
end

-- Debug.dump ------------------------------------------------------------------------------------

local NORMAL = { max_depth = 10, indent_size = 2, max_string_length = 200, max_array_elements = 50,
  max_table_pairs = 50, show_types = true, show_addresses = false, compact_mode = false }
local COMPACT = { max_depth = 3, indent_size = 0, max_string_length = 50, max_array_elements = 10,
  max_table_pairs = 10, show_types = false, show_addresses = false, compact_mode = true }
local VERBOSE = { max_depth = 20, indent_size = 4, max_string_length = 1000,
  max_array_elements = 200, max_table_pairs = 200, show_types = true, show_addresses = true,
  compact_mode = false }

local dump_value

local function scalar(v, o)
  local t = type(v)
  local text, kind
  if v == nil then
    text, kind = "nil", "nil"
  elseif t == "boolean" then
    text, kind = tostring(v), "boolean"
  elseif t == "number" then
    text, kind = tostring(v), math_type(v) == "integer" and "integer" or "number"
  elseif t == "string" then
    local cut = #v > o.max_string_length
    text = '"' .. (cut and sub(v, 1, o.max_string_length) .. "..." or v) .. '"'
    kind = "string, " .. #v .. " chars"
  elseif objects[v] ~= nil then
    return tostring(v)
  else
    text = "<" .. t .. ">"
    if o.show_addresses then text = format("<%s: %p>", t, v) end
    return text
  end
  return o.show_types and text .. " (" .. kind .. ")" or text
end

local function key_order(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb and (ta == "number" or ta == "string") then return a < b end
  if ta ~= tb then return ta < tb end
  return false
end

local function container(open, close, head, lines, o, depth)
  if #lines == 0 then return open .. head .. (head == "" and "" or " ") .. close end
  if o.compact_mode then return open .. head .. concat(lines, ", ") .. close end
  local margin = rep(" ", o.indent_size * (depth + 1))
  for i = 1, #lines do lines[i] = margin .. lines[i] end
  return open .. head .. "\n" .. concat(lines, "\n") .. "\n"
    .. rep(" ", o.indent_size * depth) .. close
end

local function head_of(o, kind, n, unit, t)
  local address = o.show_addresses and format(" @ %p", t) or ""
  if not o.show_types then return address end
  return " (" .. kind .. ", " .. n .. " " .. unit .. ")" .. address
end

local function dump_table(t, o, depth, path)
  if path[t] then return "<circular reference to depth " .. path[t] .. ">" end
  if depth >= o.max_depth then return "..." end
  path[t] = depth
  local lines, n = {}, rawlen(t)
  local text
  if n > 0 then
    for i = 1, n do
      if i > o.max_array_elements then
        lines[#lines + 1] = "... (" .. (n - o.max_array_elements) .. " more)"
        break
      end
      lines[i] = dump_value(rawget(t, i), o, depth + 1, path)
    end
    text = container("[", "]", head_of(o, "array", n, "elements", t), lines, o, depth)
  else
    local keys = {}
    for key in next, t do keys[#keys + 1] = key end
    sort(keys, key_order)
    for i, key in ipairs(keys) do
      if i > o.max_table_pairs then
        lines[#lines + 1] = "... (" .. (#keys - o.max_table_pairs) .. " more)"
        break
      end
      local name = type(key) == "string" and key or "[" .. tostring(key) .. "]"
      lines[i] = name .. " = " .. dump_value(rawget(t, key), o, depth + 1, path)
    end
    text = container("{", "}", head_of(o, "table", #keys, "pairs", t), lines, o, depth)
  end
  path[t] = nil
  return text
end

dump_value = function(v, o, depth, path)
  if type(v) == "table" and objects[v] == nil and v ~= NULL then
    return dump_table(v, o, depth, path)
  end
  if v == NULL then return "null" end
  return scalar(v, o)
end

local function dump(v, o, label)
  local text = dump_value(v, o, 0, {})
  if label == nil then return text end
  return tostring(label) .. ":" .. (o.compact_mode and " " or "\n") .. text
end

-- Debug.stackTrace ------------------------------------------------------------------------------

local function trace_options(options)
  local o = { max_depth = 50, capture_locals = false, capture_upvalues = false,
    include_source = true }
  if options == "error" then
    o.max_depth = 20
  elseif options == "trace" then
    o.capture_locals, o.capture_upvalues = true, true
  elseif type(options) == "table" then
    for key in next, o do
      if options[key] ~= nil then o[key] = options[key] end
    end
  end
  return o
end

local function shown(v) return dump(v, COMPACT) end

local function frames_of(o)
  local frames, level, truncated = {}, 2, false
  while true do
    local info = getinfo(level, "nSlu")
    if not info then break end
    if info.source ~= "=[llmspell]" then
      if #frames >= o.max_depth then
        truncated = true
        break
      end
      local name = info.name
      if info.what == "main" then name = "main chunk" end
      local frame = {
        name = name or "?",
        source = info.short_src, line = info.currentline, line_defined = info.linedefined,
        what = info.what, num_upvalues = info.nups or 0, num_params = info.nparams or 0,
      }
      if info.what ~= "C" then
        if o.capture_locals then
          frame.locals = {}
          local i = 1
          while true do
            local name, value = getlocal(level, i)
            if name == nil then break end
            if sub(name, 1, 1) ~= "(" and name ~= bridge.HIDDEN then frame.locals[name] = shown(value) end
            i = i + 1
          end
        end
        if o.capture_upvalues then
          frame.upvalues = {}
          local f = getinfo(level, "f").func
          local i = 1
          while true do
            local name, value = getupvalue(f, i)
            if name == nil then break end
            if name ~= "_ENV" then frame.upvalues[name] = shown(value) end
            i = i + 1
          end
        end
      end
      frames[#frames + 1] = frame
    end
    level = level + 1
  end
  return frames, truncated
end

function natives.Debug(T)
  local call = own(T)
  T.dump = call(function(v, label) return dump(v, NORMAL, label) end)
  T.dumpCompact = call(function(v, label) return dump(v, COMPACT, label) end)
  T.dumpVerbose = call(function(v, label) return dump(v, VERBOSE, label) end)
  T.dumpWithOptions = call(function(v, options, label)
    local o = {}
    for key, value in next, NORMAL do o[key] = value end
    if type(options) == "table" then
      for key in next, NORMAL do
        if options[key] ~= nil then o[key] = options[key] end
      end
    end
    return dump(v, o, label)
  end)
  T.dump_compact, T.dump_verbose = T.dumpCompact, T.dumpVerbose
  T.dump_with_options = T.dumpWithOptions

  local function stack_trace(options)
    local o = trace_options(options)
    local frames, truncated = frames_of(o)
    local lines = { "Stack trace:" }
    for i, frame in ipairs(frames) do
      local place = ""
      if o.include_source then
        place = " at " .. frame.source .. (frame.line > 0 and ":" .. frame.line or "")
      end
      lines[#lines + 1] = "  " .. i .. ": " .. frame.name .. place
      for _, what in ipairs({ "locals", "upvalues" }) do
        local names = {}
        for name in next, frame[what] or {} do names[#names + 1] = name end
        sort(names)
        for _, name in ipairs(names) do
          lines[#lines + 1] = "       " .. name .. " = " .. frame[what][name]
        end
      end
    end
    if truncated then lines[#lines + 1] = "  ..." end
    return concat(lines, "\n")
  end
  T.stackTrace = call(stack_trace)
  T.stack_trace = T.stackTrace
  T.stackTraceJson = call(function(options)
    local o = trace_options(options)
    local frames, truncated = frames_of(o)
    return G.JSON.stringify({ frames = setmetatable(frames, bridge.ARRAY),
      max_depth = o.max_depth, truncated = truncated })
  end)
  T.stack_trace_json = T.stackTraceJson
end

-- Streaming -------------------------------------------------------------------------------------

local states = setmetatable({}, { __mode = "k" })
local generators = setmetatable({}, { __mode = "k" })   -- coroutines of streams
local Stream = {}
local stream_meta

local function stream_of(pull)
  local stream = setmetatable({}, stream_meta)
  states[stream] = { pull = pull, done = false }
  return stream
end

local function from_coroutine(f)
  local co = create(f)
  generators[co] = true
  local stream
  stream = stream_of(function(state)
    local function took(ok, value, ...)
      if not ok then
        state.done = true
        error(value, 0)
      end
      if status(co) == "dead" then state.done = true end
      return value
    end
    return took(bridge.continue(co))
  end)
  states[stream].coroutine = co
  return stream
end

local function pushable()
  local items, first, last = {}, 1, 0
  local stream = stream_of(function(state)
    if first > last then
      if state.closed then state.done = true end
      return nil
    end
    local value = items[first]
    items[first] = nil
    first = first + 1
    if first > last and state.closed then state.done = true end
    return value
  end)
  local state = states[stream]
  state.push = function(value)
    if state.closed then return fail("Validation error: the stream is closed") end
    if value == nil then return false end
    last = last + 1
    items[last] = value
    return true
  end
  state.close = function()
    state.closed = true
    if first > last then state.done = true end
  end
  return stream
end

local function take_next(state)
  if state.done then return nil end
  return state.pull(state)
end

function Stream.next(stream) return take_next(states[stream]) end
Stream.try_next, Stream.tryNext = Stream.next, Stream.next

function Stream.is_done(stream) return states[stream].done end
Stream.isDone, Stream.is_closed, Stream.isClosed = Stream.is_done, Stream.is_done, Stream.is_done

function Stream.collect(stream, max)
  local state, found = states[stream], {}
  while not state.done and (max == nil or #found < max) do
    local value = take_next(state)
    if value ~= nil then
      found[#found + 1] = value
    elseif not state.coroutine then
      if state.push or state.done then break end
    end
  end
  return found
end

local function derived(stream, step)
  local source = states[stream]
  return stream_of(function(state)
    while true do
      local value = take_next(source)
      if value == nil and (source.done or source.push) then
        state.done = source.done
        return nil
      end
      local keep, made = true, value
      if value ~= nil then keep, made = step(value, state) end
      if source.done then state.done = true end
      if keep then return made end
      if state.done then return nil end
    end
  end)
end

function Stream.map(stream, f)
  return derived(stream, function(value) return true, f(value) end)
end

function Stream.filter(stream, f)
  return derived(stream, function(value) return f(value), value end)
end

function Stream.take(stream, n)
  local taken = 0
  local source = states[stream]
  return stream_of(function(state)
    if taken >= n then
      state.done = true
      return nil
    end
    local value = take_next(source)
    taken = taken + 1
    if taken >= n or source.done then state.done = true end
    return value
  end)
end

function Stream.each(stream, f)
  local state = states[stream]
  while not state.done do
    local value = take_next(state)
    if value ~= nil then f(value) elseif state.push then break end
  end
end

function Stream.push(stream, value)
  local state = states[stream]
  if not state.push then return fail("Validation error: only Streaming.create() without a "
    .. "generator makes a stream to push to") end
  return state.push(value)
end

function Stream.close(stream)
  local state = states[stream]
  if state.close then return state.close() end
  state.done = true
end

stream_meta = {
  __name = "Stream",
  __metatable = false,
  __tostring = function() return "Stream" end,
  __index = function(stream, key)
    local method = Stream[key]
    if method ~= nil then
      return function(first, ...)
        if first == stream then return method(stream, ...) end
        return method(stream, first, ...)
      end
    end
    if key == "_coroutine" then return states[stream].coroutine end
    if key == "_done" then return states[stream].done end
    return nil
  end,
}

function natives.Streaming(T)
  local call = own(T)
  T.create = call(function(generator)
    if generator == nil then return pushable() end
    if type(generator) ~= "function" then
      return fail("Validation error: Streaming.create takes a generator function, got "
        .. type(generator))
    end
    return from_coroutine(generator)
  end)
  T.yield = call(function(...)
    local co = raw_running()
    if not generators[co] then
      return fail("Validation error: Streaming.yield is for generators of Streaming.create")
    end
    return raw_yield(...)
  end)
end

-- Utils -----------------------------------------------------------------------------------------

local function deep_copy(v, copies)
  if type(v) ~= "table" or objects[v] ~= nil or v == NULL then return v end
  if copies[v] then return copies[v] end
  local made = {}
  copies[v] = made
  for key, item in next, v do made[deep_copy(key, copies)] = deep_copy(item, copies) end
  local meta = getmetatable(v)
  if meta == bridge.ARRAY or meta == bridge.RECORD then
    texts[made] = texts[v]
    setmetatable(made, meta)
  elseif meta ~= nil and rawget(meta, "__metatable") == nil then
    checked_setmetatable(made, meta)
  end
  return made
end

function natives.Utils(T)
  local call = own(T)
  T.deep_copy = call(function(v) return deep_copy(v, {}) end)
  T.deepCopy = T.deep_copy
end
