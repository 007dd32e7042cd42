-- The heart of the engine on Lua's side: tasks, the values that cross the border, declared methods.
-- It runs once per state, before anything of the user's, and hands `bridge` to the other chunks.
-- Whatever it uses of the standard library it keeps in locals: scripts may replace what they see.
--
-- Everything of the user's runs in a coroutine of ours, a task. A call that has to wait for the
-- event loop yields AWAIT with a token up to the scheduler (Python's portal), through coroutines of
-- the user's as well; so tasks interleave and nothing stacks up.

local host = ...

local type, next, tostring, select, error = type, next, tostring, select, error
local pcall, xpcall, rawget, rawset, rawequal = pcall, xpcall, rawget, rawset, rawequal
local setmetatable = setmetatable
local getmetatable = debug.getmetatable   -- whatever `__metatable` says
local collectgarbage = collectgarbage
local format, find, sub, gsub = string.format, string.find, string.sub, string.gsub
local unpack = table.unpack or unpack
local rawlen = rawlen or function(t) return #t end
local getinfo, traceback = debug.getinfo, debug.traceback
local raw_create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield
local raw_running, isyieldable = coroutine.running, coroutine.isyieldable
local raw_close = coroutine.close
local huge = math.huge

local host_block, host_dying, host_doomed, host_settled =
  host.block, host.dying, host.doomed, host.settled
local host_mark, host_function = host.mark, host.func

local AWAIT = {}                       -- what a waiting coroutine yields first
local MARK = "\3"                      -- how the message of an interrupt ends, see _interrupt.py
local NULL = setmetatable({}, { __tostring = function() return "null" end, __metatable = false })
-- Metatable of a table that is an array even when empty. Scripts get hold of no metatable that we
-- use again: a `__gc` that they add would run with hooks off, where no interrupt reaches it.
local ARRAY = { __name = "array", __metatable = false }
local LIMITS = { soft = huge }         -- KiB of heap above which a call to the host first collects

local weak_keys, weak_values = { __mode = "k" }, { __mode = "v" }
local objects = setmetatable({}, weak_keys)    -- handle → Python object
local opaque = setmetatable({}, weak_keys)     -- tables that stand for files: no data
local handles = setmetatable({}, weak_values)  -- id of a Python object → handle
local texts = setmetatable({}, weak_keys)      -- record → its text
local function_ids = setmetatable({}, weak_keys)
local functions, next_function = {}, 0         -- functions that Python holds
local tasks, next_task = {}, 0                 -- coroutines of ours
local task_of = setmetatable({}, weak_keys)
local waiting = setmetatable({}, weak_keys)    -- coroutines of the user's that wait for the host
local running = { false, false, false, false } -- [1]: the coroutine that runs; Python peeks at it

objects[NULL] = host.null

local bridge = {
  NULL = NULL, ARRAY = ARRAY, LIMITS = LIMITS, running = running, getmetatable = getmetatable,
  objects = objects, opaque = opaque, texts = texts, waiting = waiting, task_of = task_of,
}

-- Errors ---------------------------------------------------------------------------------------

local OURS = { ["=[llmspell]"] = true, ["=[C]"] = true }

local bodies = {}                      -- task → the script's function in it
local luajit = host.luajit             -- of compat.lua

-- Where no frame of the script's is left: its function ended in a tail call.
local function definition(f)
  local info = f and getinfo(f, "S")
  if not info or OURS[info.source] then return "" end
  local line = luajit and luajit.tail_line(f) or info.linedefined
  return info.short_src .. ":" .. (line > 0 and line or "?") .. ": "
end

local function position()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then
      local co = raw_running()
      return definition(co and bodies[task_of[co]])
    end
    if info.currentline > 0 and not OURS[info.source] then
      return info.short_src .. ":" .. info.currentline .. ": "
    end
    level = level + 1
  end
end

local function fail(message)
  error(position() .. tostring(message), 0)
end

-- A C function that we call for a script blames our line; this blames the script's. What the
-- script itself raised meanwhile stays as it is.
local COMPLAINTS = { "^bad argument #", "^wrong number of arguments", "^resulting string too large",
  "^cannot change a protected", "^'__tostring' must", "^too many elements", "^wrap around",
  "^invalid capture", "^invalid use of", "^invalid replacement", "^invalid value" }

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

bridge.blamed = blamed

-- Ends the task: the host arms the interrupt for this coroutine, so that no pcall gets away.
local function die()
  if host_dying(format("%p", raw_running())) then error(MARK, 0) end
  error("the coroutine was interrupted", 0)
end

-- How `_interrupt.py` gets at what runs: "thread" (a hook per coroutine, set from outside), "state"
-- (one hook for all, this one, put in place from outside) or "poll" (it is there all the time).
local hooks, sethook = host.hooks, debug.sethook
local create = raw_create
local PERIOD = 10000                   -- instructions between two looks

local heap_full = false                -- LuaJIT: too much was left by a collection

local function check(again)
  if host_doomed() then
    if again then sethook(again, "", 1) end   -- after each pcall
    error(MARK, 0)
  end
  if heap_full then
    heap_full = false
    error("not enough memory", 0)
  end
end

local function look()
  if raw_running() then check() end    -- not in the engine's own code
end

local function poll()
  if not raw_running() then return end
  sethook(poll, "", PERIOD)
  check(poll)
end

if luajit then
  luajit.full = function()
    heap_full = true
    sethook(hooks == "state" and look or poll, "", 1)
  end
  function bridge.freed()
    if collectgarbage("count") < LIMITS.soft then heap_full = false end
  end
end

if hooks == "state" then
  sethook(look, "", 2 ^ 30)            -- Python puts it away
elseif hooks == "poll" and raw_running() then
  create = function(f)
    local co = raw_create(f)
    sethook(co, poll, "", PERIOD)
    return co
  end
elseif hooks == "poll" then
  sethook(poll, "", PERIOD)
end
bridge.create = create

-- The coroutines that ran last: the watch may have seen one running that has ended since, and be about
-- to arm it. Between a coroutine's place here and its reuse lies a call that waits for the watch.
local recent, turn, pins = {}, 0, hooks == "thread" and 16 or huge

local function pin(co)
  turn = turn + 1
  recent[turn] = co
  if turn == pins then
    host_settled()
    turn = 0
  end
end

-- Nothing of an execution that has ended is kept.
function bridge.unpin()
  host_settled()
  recent, turn = {}, 0
end

local function interrupted(message)
  return type(message) == "string" and sub(message, -1) == MARK
end

-- A traceback without the engine's own frames and names.
local function cleaned(text)
  text = gsub(text, "\n[^\n]*%[llmspell%][^\n]*", "")
  text = gsub(text, "in %a+ 'main_chunk'", "in main chunk")
  text = gsub(text, "in %a+ 'callback'", "in callback")
  return (gsub(text, "'raw_xpcall'", "'xpcall'"))
end
bridge.cleaned = cleaned

local function trace(co, message, level)
  local text = co and traceback(co, message, level) or traceback(message, (level or 1) + 1)
  if type(text) ~= "string" then return text end
  return cleaned(text)
end

bridge.fail, bridge.die, bridge.position, bridge.trace = fail, die, position, trace
bridge.interrupted = interrupted
bridge.getinfo, bridge.getlocal, bridge.getupvalue = getinfo, debug.getlocal, debug.getupvalue

-- A heap near its limit is collected before the host is called: what the host pushes must fit,
-- because an allocation that fails inside lupa ends the process.
local function host_pressure()
  collectgarbage("collect")
  if collectgarbage("count") > LIMITS.soft then error("not enough memory", 0) end
end

-- From Lua to Python ---------------------------------------------------------------------------

-- Scalars cross as they are; bytes for strings. A table is flattened here, on the script's own
-- coroutine (where an error has its line and an interrupt its effect), and a mark goes in its place;
-- Python then pulls the tokens. Lua objects themselves never become Python objects: lupa binds such
-- an object to the coroutine it came from, which may be gone before the object is.
--
-- Tokens, a table before the tables in it (breadth first): kind (1 list, 2 dict, 3 empty), length,
-- number of inner tables, the values (for a dict key, value, key, value …), then the places of the
-- inner tables, whose own tokens follow in that order.

local PLAIN = { string = true, number = true, boolean = true, ["nil"] = true }
local MAX_DEPTH = 128
-- The tables of the call in progress, up to `top`; those below `base` belong to the call whose
-- argument's `__tojson` runs.
local slots, lengths, table_marks, base, top = {}, {}, {}, 0, 0
local other_marks = {}

local function function_id(f)
  local id = function_ids[f]
  if id == nil then
    next_function = next_function + 1
    id = next_function
    function_ids[f] = id
  end
  functions[id] = f
  return id
end

local function where_defined(f)
  local info = getinfo(f, "S")
  return info.short_src .. ":" .. info.linedefined
end

local function python_function(f)
  return host_function(function_id(f), where_defined(f))
end

local function special(v, t, lenient)
  if t == "function" then
    if lenient then return "<function>" end
    return python_function(v)
  end
  if lenient then return "<" .. t .. ">" end
  return error("Validation error: Unsupported Lua type for JSON conversion: " .. t, 0)
end

-- Calls a `__tojson`, which may call the host in its turn. From within gsub, which cannot be yielded
-- across: so no other coroutine comes between the arguments of a call.
local function converted(convert, v)
  local before, made = base, nil
  base = top
  local ok, message = pcall(gsub, "x", "x", function() made = convert(v) end)
  base = before
  if not ok then error(message, 0) end
  return made
end

-- What stands for a table inside a table: itself, what its `__tojson` makes of it, or its object.
-- Returns whether it still is a table to flatten.
local function inner(v, lenient, depth)
  if v == NULL then return false, nil end
  local object = objects[v]
  if object ~= nil then
    if lenient then return false, tostring(v) end
    return false, object
  end
  if opaque[v] then
    if lenient then return false, tostring(v) end
    error("Validation error: Unsupported Lua type for JSON conversion: userdata", 0)
  end
  local meta = getmetatable(v)
  if type(meta) == "table" then
    local convert = rawget(meta, "__tojson")
    if convert ~= nil then
      local made = converted(convert, v)
      local t = type(made)
      if t == "table" and made ~= v then
        if depth > MAX_DEPTH then error("Validation error: Maximum nesting depth exceeded", 0) end
        return inner(made, lenient, depth + 1)
      end
      if t ~= "table" then
        if not PLAIN[t] then made = special(made, t, lenient) end
        return false, made
      end
    end
  end
  return true, v
end

local function only_sequence(t, n)
  for key in next, t do
    if type(key) ~= "number" or key < 1 or key > n or key % 1 ~= 0 then return false end
  end
  return true
end

-- How many elements there are. LuaJIT's `#` may stop at a hole in front of which 5.4's does not.
local length = rawlen
if luajit then
  local maxn = table.maxn
  length = function(t)
    local n = #t
    local last = n > 0 and maxn(t) or 0
    if last == n or last % 1 ~= 0 then return n end
    local count = 0
    for key in next, t do
      if type(key) == "number" then count = count + 1 end
    end
    return last <= 2 * count and last or n
  end
end

-- Flattens `t`. `queue` holds the tables in their order, `above` the place of each one's parent.
local function flatten_all(t, lenient)
  local is_table, root = inner(t, lenient, 0)
  if not is_table then return nil, root end
  local flat, size, queue, above, depths, places = {}, 0, { root }, { 0 }, { 0 }, {}
  local at, last, count = 1, 1, 0

  -- Queues a table found at `place`; or returns what stands for it.
  local function child(v, place)
    local walked, instead = inner(v, lenient, 0)
    if not walked then return instead end
    local depth = depths[at] + 1
    if depth > MAX_DEPTH then error("Validation error: Maximum nesting depth exceeded", 0) end
    local up = at
    while up > 0 do
      if queue[up] == instead then error("Validation error: Circular reference detected", 0) end
      up = above[up]
    end
    last = last + 1
    queue[last], above[last], depths[last] = instead, at, depth
    count = count + 1
    places[count] = place
    return nil
  end

  repeat
    local table = queue[at]
    local n, first, kind = length(table), size, 1
    size, count = size + 3, 0
    if n > 0 and (not lenient or only_sequence(table, n)) then
      local plain = getmetatable(table) == nil
      for i = 1, n do
        local v
        if plain then v = table[i] else v = rawget(table, i) end
        local k = type(v)
        if k == "number" then
          if v ~= v or v == huge or v == -huge then v = nil end
        elseif k == "table" then
          v = child(v, i - 1)
        elseif not PLAIN[k] then
          v = special(v, k, lenient)
        end
        flat[size + i] = v
      end
      size = size + n
    elseif next(table) == nil then
      kind, n = getmetatable(table) == ARRAY and 1 or 3, 0
    else
      kind, n = 2, 0
      local each, from = next, table
      if bridge.recording then each, from = bridge.ordered_pairs(table) end
      for key, v in each, from do
        local kk = type(key)
        if kk == "number" and not lenient then key, kk = tostring(key), "string" end
        if kk == "string" then
          local k = type(v)
          if k == "number" then
            if v ~= v or v == huge or v == -huge then v = nil end
          elseif k == "table" then
            v = child(v, n)
          elseif not PLAIN[k] then
            v = special(v, k, lenient)
          end
          flat[size + 1], flat[size + 2] = key, v
          size, n = size + 2, n + 1
        end
      end
    end
    flat[first + 1], flat[first + 2], flat[first + 3] = kind, n, count
    for i = 1, count do flat[size + i] = places[i] end
    size = size + count
    at = at + 1
  until at > last
  return flat, size
end

local function flattened(ok, made, n)
  if ok then return made, n end
  if interrupted(made) then die() end
  if type(made) == "string" and find(made, "^Validation error: ") then fail(made) end
  error(made, 0)
end

local function flatten(t, as_result)
  return flattened(pcall(flatten_all, t, as_result))
end

local function wire(v, as_result)
  local t = type(v)
  if PLAIN[t] then return v end
  if t == "table" then
    if v == NULL then return nil end
    local object = objects[v]
    if object ~= nil and not as_result then return object end
    local made, n = flatten(v, as_result)
    if made == nil then return n end
    top = top + 1
    local text = texts[v]
    slots[top], lengths[top] = made, n
    if text ~= nil then slots[top].text = text end
    local mark = table_marks[top]
    if mark == nil then
      mark = host_mark(top)
      table_marks[top] = mark
    end
    return mark
  end
  if as_result then return "<" .. t .. ">" end
  if t == "function" then return python_function(v) end
  local mark = other_marks[t]
  if mark == nil then
    mark = host_mark(t)
    other_marks[t] = mark
  end
  return mark
end

local function wire_all(n, a, ...)
  if n == 0 then return end
  if PLAIN[type(a)] then return a, wire_all(n - 1, ...) end
  return wire(a), wire_all(n - 1, ...)
end

local function wires(n, ...)
  top = base
  if n <= 8 then return wire_all(n, ...) end
  local all = { ... }
  for i = 1, n do
    if not PLAIN[type(all[i])] then all[i] = wire(all[i]) end
  end
  return unpack(all, 1, n)
end

-- Python calls these: the tokens behind a mark.
local CHUNK = 4000
function bridge.tokens(slot)
  local made, n = slots[slot], lengths[slot]
  if n <= CHUNK then
    slots[slot] = nil
    return n, made.text, unpack(made, 1, n)
  end
  return n, made.text, unpack(made, 1, CHUNK)
end

function bridge.more(slot, first)
  local made, n = slots[slot], lengths[slot]
  local last = first + CHUNK - 1
  if last >= n then
    last = n
    slots[slot] = nil
  end
  return unpack(made, first, last)
end

function bridge.release(id)
  functions[id] = nil
end

bridge.wires, bridge.function_id = wires, function_id

-- The host functions for the other chunks: what a script passes may be a table or a function, and
-- crosses as everything does.
bridge.host = {}
for name, f in next, host do
  bridge.host[name] = function(...) return f(wires(select("#", ...), ...)) end
end

-- Tasks and waiting ----------------------------------------------------------------------------

local finish

-- Waits for the host's answer to `token`: by yielding to the scheduler, or, below a C function
-- that cannot be yielded across (a comparator of table.sort, a callback of gsub), in place.
local function await(token)
  if isyieldable() then return finish(raw_yield(AWAIT, token)) end
  return finish(host_block(token))
end

finish = function(status, ...)
  if status == true then return ... end
  if status == false then return fail((...)) end
  if status == nil then return die() end
  return await(status)
end

local function again(co, ...)
  waiting[co] = nil
  return bridge.continue(co, ...)
end

local function after(co, before, ok, tag, ...)
  running[1] = before
  if pins ~= huge then pin(before) end
  if ok and rawequal(tag, AWAIT) then
    waiting[co] = true
    if isyieldable() then return again(co, raw_yield(AWAIT, ...)) end
    return again(co, host_block(...))
  end
  if not ok and interrupted(tag) then die() end
  return ok, tag, ...
end

local levels = setmetatable({}, weak_keys)    -- LuaJIT: coroutine → how many resumed it

-- LuaJIT would nest coroutines until the heap is full, and take as long to end them.
local function too_deep(co)
  local above = raw_running()
  local level = (levels[above] or 0) + 1
  levels[co] = level
  return level > 190
end

function bridge.continue(co, ...)
  if luajit and too_deep(co) then return false, "C stack overflow" end
  local before = running[1]
  running[1] = co
  if pins ~= huge then pin(co) end
  return after(co, before, raw_resume(co, ...))
end

local function described(value)
  local t = type(value)
  if t == "string" then return value end
  if t == "number" or t == "nil" or t == "boolean" then return tostring(value) end
  local meta = t == "table" and getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local co = create(tostring)   -- the script's code: where an interrupt finds it
    running[1] = co
    local ok, text = raw_resume(co, value)
    if ok and type(text) == "string" then return text end
  end
  return "(error object is a " .. t .. " value)"
end

local function ended(id, co)
  tasks[id], bodies[id] = nil, nil
  task_of[co] = nil
end

-- A C function in tail position blames the line of ours that called the script's function.
local function at_a_line(f, text)
  local found, last = find(text, "^%[llmspell%]:%d+: ")
  if not found then return text end
  text = gsub(sub(text, last + 1), "^(bad argument #%d+ to )'[^']*'", "%1'?'")
  return definition(f) .. text
end

local function outcome(id, co, before, ok, tag, ...)
  if ok and rawequal(tag, AWAIT) then
    running[1] = before
    return 1, (...)
  end
  if ok then
    running[1] = before
    ended(id, co)
    return 0, tag
  end
  local body = bodies[id]
  ended(id, co)
  if type(tag) == "string" and find(tag, "not enough memory$") then
    -- There may be no room for a traceback; what the task held goes first.
    if raw_close then pcall(raw_close, co) end
    running[1] = before
    collectgarbage("collect")
    return 2, tag, ""
  end
  local text = at_a_line(body, described(tag))
  local traced, stack = pcall(trace, co)
  if raw_close and not interrupted(tag) then
    running[1] = co
    raw_close(co)
  end
  running[1] = before
  return 2, text, traced and stack or ""
end

local function step(id, ...)
  local co = tasks[id]
  local before = running[1]
  running[1] = co
  if pins ~= huge then pin(co) end
  return outcome(id, co, before, raw_resume(co, ...))
end

local function spawn(f, as_result, ...)
  next_task = next_task + 1
  local id = next_task
  local co
  if as_result then
    local main_chunk = f
    co = create(function(...)
      local value = main_chunk(...)
      if as_result == "expression" and opaque[value] then return nil end   -- `io.write("x")`
      top = base
      return wire(value, true)
    end)
  else
    local callback = f
    co = create(function(...) return wires(1, (callback(...))) end)
  end
  local address = format("%p", co)
  tasks[id], task_of[co], bodies[id] = co, id, f
  return id, address, step(id, ...)
end

bridge.step, bridge.spawn = step, spawn

function bridge.spawn_function(id, ...)
  return spawn(functions[id], false, ...)
end

function bridge.forget(id)
  local co = tasks[id]
  if co then ended(id, co) end
end

bridge.finish, bridge.await, bridge.AWAIT = finish, await, AWAIT

-- Queue of functions to run as tasks of their own (promise handlers).
local jobs, first_job, last_job = {}, 1, 0

function bridge.later(f)
  last_job = last_job + 1
  jobs[last_job] = f
end

function bridge.next_job()
  if first_job > last_job then return nil end
  local f = jobs[first_job]
  jobs[first_job] = nil
  first_job = first_job + 1
  return spawn(f, false)
end

-- Declared globals and handles -----------------------------------------------------------------

-- One closure for a declared function; `n` is the number of its parameters, -1 for any number.
-- `own` is what a colon call passes first: the global's table or the handle.
local function call_on(own, object, f, n)
  if n == 0 then
    return function()
      if collectgarbage("count") > LIMITS.soft then host_pressure() end
      return finish(f(object))
    end
  elseif n == 1 then
    return function(a, b)
      if rawequal(a, own) then a = b end
      top = base
      if not PLAIN[type(a)] then a = wire(a) end
      if collectgarbage("count") > LIMITS.soft then host_pressure() end
      return finish(f(object, a))
    end
  elseif n == 2 then
    return function(a, b, c)
      if rawequal(a, own) then a, b = b, c end
      top = base
      if not PLAIN[type(a)] then a = wire(a) end
      if not PLAIN[type(b)] then b = wire(b) end
      if collectgarbage("count") > LIMITS.soft then host_pressure() end
      return finish(f(object, a, b))
    end
  elseif n == 3 then
    return function(a, b, c, d)
      if rawequal(a, own) then a, b, c = b, c, d end
      top = base
      if not PLAIN[type(a)] then a = wire(a) end
      if not PLAIN[type(b)] then b = wire(b) end
      if not PLAIN[type(c)] then c = wire(c) end
      if collectgarbage("count") > LIMITS.soft then host_pressure() end
      return finish(f(object, a, b, c))
    end
  end
  local function go(...)
    local count = select("#", ...)
    if n >= 0 and count > n then count = n end
    if collectgarbage("count") > LIMITS.soft then host_pressure() end
    return finish(f(object, wires(count, ...)))
  end
  return function(a, ...)
    if rawequal(a, own) then return go(...) end
    return go(a, ...)
  end
end

local function twin_on(own, object, f)
  local function go(...)
    local count = select("#", ...)
    local last = count
    while last > 0 and (select(last, ...)) == nil do last = last - 1 end
    local callback
    if last > 0 and type((select(last, ...))) == "function" then
      callback = (select(last, ...))
      count = last - 1
    end
    if collectgarbage("count") > LIMITS.soft then host_pressure() end
    return bridge.promised(callback, f(object, wires(count, ...)))
  end
  return function(a, ...)
    if rawequal(a, own) then return go(...) end
    return go(a, ...)
  end
end

local natives = {}   -- global → function that adds what only Lua can do
bridge.natives = natives

-- The further arguments are other names of the same global.
local function lazy_global(G, name, ...)
  local T, meta = {}, {}
  local touched = false
  local function touch()
    if touched then return end
    if collectgarbage("count") > LIMITS.soft then host_pressure() end
    touched = true
    meta.__index, meta.__pairs, meta.__len = nil, nil, nil
    local ok, index, attributes = host.touch(name)
    if not ok then
      touched = false
      meta.__index = meta.lazy
      return fail(index)
    end
    if natives[name] then natives[name](T) end
    if index or attributes then
      local read = bridge.pending_read
      meta.__index = function(_, key)
        if type(key) ~= "string" then return nil end
        return finish(read(nil, key))
      end
    end
  end
  meta.lazy = function(_, key)
    touch()
    return T[key]
  end
  meta.__index = meta.lazy
  meta.__pairs = function()
    touch()
    return next, T, nil
  end
  meta.__name = name
  meta.__metatable = false
  bridge.globals[name] = { T = T, touch = touch }
  setmetatable(T, meta)
  for _, known_by in next, { name, ... } do G[known_by] = T end
end
bridge.globals = {}
bridge.lazy_global = lazy_global

-- Python, inside host.touch: one method of the global being touched.
function bridge.define(name, key, f, n, twin)
  local T = bridge.globals[name].T
  if rawget(T, key) ~= nil then return end
  rawset(T, key, twin and twin_on(T, nil, f) or call_on(T, nil, f, n))
end

function bridge.define_reader(f)
  bridge.pending_read = f
end

-- Classes of handles: name → {methods = {key → {f, n, twin}}, read = f}
local classes = {}

local numbers = setmetatable({}, weak_keys)   -- of handles without a name that were shown

function bridge.define_class(class, name, read, title)
  local methods, keys = {}, {}
  local meta = { __name = name, __metatable = false }
  meta.__index = function(handle, key)
    local method = methods[key]
    if method ~= nil then
      local made
      if method.twin then
        made = twin_on(handle, objects[handle], method.f)
      else
        made = call_on(handle, objects[handle], method.f, method.n)
      end
      rawset(handle, key, made)
      return made
    end
    if read and type(key) == "string" then return finish(read(objects[handle], key)) end
    return nil
  end
  meta.__tostring = function(handle)
    local text = finish(title(objects[handle]))
    if text == nil then
      local of = classes[class]
      if numbers[handle] == nil then
        of.shown = of.shown + 1
        numbers[handle] = of.shown
      end
      text = numbers[handle]
    end
    return name .. "(" .. text .. ")"
  end
  meta.__concat = function(a, b) return tostring(a) .. tostring(b) end
  meta.__pairs = function(handle)
    local i = 0
    return function()
      i = i + 1
      local key = keys[i]
      if key ~= nil then return key, handle[key] end
    end, handle, nil
  end
  classes[class] = { methods = methods, keys = keys, meta = meta, shown = 0 }
end

function bridge.define_method(class, key, f, n, twin)
  local made = classes[class]
  if made.methods[key] == nil then
    made.methods[key] = { f = f, n = n, twin = twin }
    made.keys[#made.keys + 1] = key
  end
end

-- The handle of a Python object, the same one for the same object.
function bridge.handle(id, object, class)
  local handle = handles[id]
  if handle ~= nil then return handle end
  handle = setmetatable({}, classes[class].meta)
  objects[handle] = object
  handles[id] = handle
  return handle
end

-- From Python to Lua: what table_from cannot make ----------------------------------------------

local function concat(a, b) return tostring(a) .. tostring(b) end

local RECORD = {
  __tostring = function(t) return texts[t] end, __concat = concat, __metatable = false,
}

bridge.RECORD = RECORD

function bridge.record(fields, text)
  texts[fields] = text
  return setmetatable(fields, RECORD)
end

function bridge.items(list, fields)
  return setmetatable(list, { __index = fields })
end

function bridge.empty_array()
  return setmetatable({}, ARRAY)
end

-- A list with nulls in it, so that `#` still counts to its end.
function bridge.holes(list, n)
  if luajit then
    local made = luajit.new_table(n, 0)
    for i = 1, n do made[i] = list[i] end
    return made
  end
  if n > 100000 then return list end
  return { unpack(list, 1, n) }
end

function bridge.null()
  return NULL
end

function bridge.function_of(id)
  return functions[id]
end

-- A live table: the Python dict or list itself, read and written through.
local LIVE = {
  __metatable = false,
  __index = function(t, key) return finish(host.live_get(objects[t], wires(1, key))) end,
  __newindex = function(t, key, value)
    return finish(host.live_set(objects[t], wires(2, key, value)))
  end,
  __len = function(t) return finish(host.live_len(objects[t])) end,
  __pairs = function(t)
    local keys, i = finish(host.live_keys(objects[t])), 0
    return function()
      i = i + 1
      local key = keys[i]
      if key ~= nil then return key, t[key] end
    end, t, nil
  end,
}

bridge.lives = setmetatable({}, weak_keys)

function bridge.live(id, object)
  local proxy = handles[id]
  if proxy == nil then
    proxy = setmetatable({}, LIVE)
    bridge.lives[proxy] = true
    objects[proxy] = object
    handles[id] = proxy
  end
  return proxy
end

-- Settings of an execution ----------------------------------------------------------------------

function bridge.set_limit(soft_kib)
  LIMITS.soft = soft_kib
end

return bridge
