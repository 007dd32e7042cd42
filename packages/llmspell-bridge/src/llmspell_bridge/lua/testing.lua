-- The test library of scripts: `require("llmspell.test")`.
--
-- It is read when it is first required. Everything runs in the coroutine that calls `run_all`, so
-- a test waits, calls tools and holds promises as any script does.

local bridge = ...
local host, finish, fail, position = bridge.host, bridge.finish, bridge.fail, bridge.position
local interrupted, trace, is_promise = bridge.interrupted, bridge.trace, bridge.is_promise
local objects, lives, NULL, getinfo = bridge.objects, bridge.lives, bridge.NULL, bridge.getinfo
local G = bridge.G
local type, tostring, next, select, error, rawget = type, tostring, next, select, error, rawget
local pcall, xpcall, setmetatable, getmetatable = pcall, xpcall, setmetatable, getmetatable
local ipairs, rawequal, pairs = ipairs, rawequal, G.pairs
local format, rep, sub, gsub, find = string.format, string.rep, string.sub, string.gsub, string.find
local lower, byte, match, gmatch = string.lower, string.byte, string.match, string.gmatch
local concat, sort, insert = table.concat, table.sort, table.insert
local math_type = math.type or function(x) return x % 1 == 0 and "integer" or "float" end
local raw_running, status = coroutine.running, coroutine.status
local loadfile = G.loadfile

local T = {}          -- the module
local SKIP = {}       -- what a skipped test raises is in here, with its reason
setmetatable(SKIP, { __mode = "k" })

local function misuse(message)
  return fail("Validation error: " .. message)
end

local function ask(...)
  return finish(host.testing(...))
end

-- Values as text -------------------------------------------------------------------------------

local MAX_DEPTH, MAX_ITEMS, MAX_TEXT = 4, 20, 200
local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quoted(text)
  local cut = #text > MAX_TEXT
  local shown = gsub(cut and sub(text, 1, MAX_TEXT) or text, '[%c"\\]', function(c)
    return ESCAPES[c] or format("\\%03d", byte(c))
  end)
  if cut then return '"' .. shown .. '"... (' .. #text .. " bytes)" end
  return '"' .. shown .. '"'
end

local RANK = { number = 1, string = 2, boolean = 3 }

local function key_order(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return (RANK[ta] or 4) < (RANK[tb] or 4) end
  if ta == "number" or ta == "string" then return a < b end
  return ta == "boolean" and b and not a
end

-- A table that stands for data: not a handle, not JSON.null.
local function is_data(v)
  return type(v) == "table" and v ~= NULL and (objects[v] == nil or lives[v] == true)
end

-- The table itself, or what is in a live one.
local function content(t)
  if not lives[t] then return t end
  local made = {}
  for key, value in pairs(t) do made[key] = value end
  return made
end

local function sorted_keys(t, more)
  local keys = {}
  for key in next, t do keys[#keys + 1] = key end
  for key in next, more or {} do
    if rawget(t, key) == nil then keys[#keys + 1] = key end
  end
  sort(keys, key_order)
  return keys
end

local function is_name(key)
  return type(key) == "string" and find(key, "^[%a_][%w_]*$") ~= nil
end

local shown

local function shown_table(t, depth, above)
  if above[t] then return "<cycle>" end
  if depth >= MAX_DEPTH then return "{...}" end
  above[t] = true
  local from, parts, counted = content(t), {}, 1
  for i, key in ipairs(sorted_keys(from)) do
    if i > MAX_ITEMS then
      parts[i] = "..."
      break
    end
    local text = shown(rawget(from, key), depth + 1, above)
    if key == counted then
      counted = counted + 1
      parts[i] = text
    elseif is_name(key) then
      parts[i] = key .. " = " .. text
    else
      parts[i] = "[" .. shown(key, depth + 1, above) .. "] = " .. text
    end
  end
  above[t] = nil
  return "{" .. concat(parts, ", ") .. "}"
end

shown = function(v, depth, above)
  local t = type(v)
  if t == "string" then return quoted(v) end
  if t == "number" or t == "nil" or t == "boolean" then return tostring(v) end
  if v == NULL then return "null" end
  if t == "function" then
    local info = getinfo(v, "S")
    return "<function " .. info.short_src .. ":" .. info.linedefined .. ">"
  end
  if is_data(v) then return shown_table(v, depth or 0, above or {}) end
  if objects[v] ~= nil then return tostring(v) end
  return "<" .. t .. ">"
end

-- Deep equality --------------------------------------------------------------------------------

local function compares(t)
  local meta = getmetatable(t)
  return type(meta) == "table" and rawget(meta, "__eq") ~= nil
end

-- Nil where `a` and `b` are equal, else the keys that lead to the first difference. It is looked
-- for in the order of the keys only when `ordered`, because sorting takes long.
local function difference(a, b, ordered, seen)
  if rawequal(a, b) then return nil end
  local ta = type(a)
  if ta ~= type(b) then return {} end
  if ta == "number" then
    if a == b or (a ~= a and b ~= b) then return nil end
    return {}
  end
  if not (is_data(a) and is_data(b)) then return {} end
  if compares(a) or compares(b) then
    if a == b then return nil end
    return {}
  end
  local partners = seen[a]
  if partners == nil then
    partners = {}
    seen[a] = partners
  end
  if partners[b] then return nil end   -- compared already, or further up: a cycle
  partners[b] = true
  local from, other = content(a), content(b)
  if ordered then
    for _, key in ipairs(sorted_keys(from, other)) do
      local path = difference(rawget(from, key), rawget(other, key), true, seen)
      if path then
        path[#path + 1] = key
        return path
      end
    end
    return nil
  end
  for key, value in next, from do
    if difference(value, rawget(other, key), false, seen) then return {} end
  end
  for key in next, other do
    if rawget(from, key) == nil then return {} end
  end
  return nil
end

local function equal(a, b)
  return difference(a, b, false, {}) == nil
end

local function at(v, path)
  for i = #path, 1, -1 do v = rawget(content(v), path[i]) end
  return v
end

local function path_text(path)
  local parts = {}
  for i = #path, 1, -1 do
    local key = path[i]
    parts[#parts + 1] = is_name(key) and "." .. key or "[" .. shown(key) .. "]"
  end
  return concat(parts)
end

-- Long texts are told apart by the place where they part.
local function text_difference(expected, actual)
  local n, from = #expected < #actual and #expected or #actual, 1
  for i = 1, n do
    if byte(expected, i) ~= byte(actual, i) then break end
    from = i + 1
  end
  local _, lines = gsub(sub(expected, 1, from - 1), "\n", "")
  local start = from > 30 and from - 30 or 1
  local function around(text)
    local part = sub(text, start, from + 50)
    return (start > 1 and "..." or "") .. quoted(part) .. (from + 50 < #text and "..." or "")
  end
  return format("the texts part at byte %d, line %d\n  expected: %s\n  actual:   %s", from, lines + 1,
    around(expected), around(actual))
end

local function unequal(actual, expected)
  local path = difference(actual, expected, true, {})
  local a, e = at(actual, path), at(expected, path)
  local head = "expected values to be equal"
  if #path > 0 then head = head .. "; the first difference is at " .. path_text(path) end
  if type(a) == "string" and type(e) == "string"
    and (#a > 60 or #e > 60 or find(a, "\n", 1, true) or find(e, "\n", 1, true)) then
    return head .. "; " .. text_difference(e, a)
  end
  return head .. "\n  expected: " .. shown(e) .. "\n  actual:   " .. shown(a)
end

-- What both kinds of assertions check ------------------------------------------------------------

local function contains(hay, needle)
  if type(hay) == "string" then
    if type(needle) ~= "string" then
      return misuse("a text can only contain a text, not a " .. type(needle))
    end
    return find(hay, needle, 1, true) ~= nil
  end
  if not is_data(hay) then
    return misuse("only a text or a table can contain something, not a " .. type(hay))
  end
  for _, value in next, content(hay) do
    if equal(value, needle) then return true end
  end
  return false
end

local function message_of(value)
  if type(value) == "string" then return value end
  local ok, text = pcall(tostring, value)
  if interrupted(text) then error(text, 0) end
  return ok and text or "(error object is a " .. type(value) .. " value)"
end

-- Whether `f` raises, and its message.
local function raises(f, who)
  if type(f) ~= "function" then
    return misuse(who .. " needs a function to call, got " .. type(f))
  end
  local ok, value = pcall(f)
  if ok then return false end
  if interrupted(value) or SKIP[value or T] then error(value, 0) end
  return true, message_of(value)
end

local function fits(message, pattern, who)
  if pattern == nil then return true end
  if type(pattern) ~= "string" then
    return misuse(who .. " needs a text or a pattern, got " .. type(pattern))
  end
  if find(message, pattern, 1, true) then return true end
  local ok, found = pcall(find, message, pattern)
  return ok and found ~= nil
end

local function no_error(pattern, message)
  if message == nil then return "expected an error, but the function returned" end
  return "expected an error with " .. quoted(pattern) .. "\n  actual: " .. message
end

-- expect ---------------------------------------------------------------------------------------

local matchers = {}

function matchers.to_equal(actual, expected)
  local same = equal(actual, expected)
  return same, not same and unequal(actual, expected),
    same and "expected values to differ, both are " .. shown(actual)
end

function matchers.to_be(actual, expected)
  local same = rawequal(actual, expected)
    or (type(actual) == "number" and type(expected) == "number" and actual == expected)
  local note = not same and equal(actual, expected) and "\n  (equal, but not the same)" or ""
  return same, "expected: " .. shown(expected) .. "\n  actual:   " .. shown(actual) .. note,
    "expected something else than " .. shown(actual)
end

function matchers.to_be_nil(actual)
  return actual == nil, "expected nil, got " .. shown(actual), "expected a value, got nil"
end

function matchers.to_be_truthy(actual)
  return actual and true or false, "expected a truthy value, got " .. shown(actual),
    "expected nil or false, got " .. shown(actual)
end

function matchers.to_contain(actual, needle)
  return contains(actual, needle),
    "expected " .. shown(actual) .. "\n  to contain " .. shown(needle),
    "expected " .. shown(actual) .. "\n  not to contain " .. shown(needle)
end

function matchers.to_error(actual, pattern)
  local raised, message = raises(actual, "to_error")
  local fitting = raised and fits(message, pattern, "to_error")
  return fitting, not fitting and no_error(pattern, message),
    "expected no " .. (pattern and "such " or "") .. "error, got: " .. tostring(message)
end

local MATCHERS = "to_equal, to_be, to_be_nil, to_be_truthy, to_contain, to_error, never"
local camel = function(name)
  return (gsub(name, "_(%l)", function(c) return c:upper() end))
end

for _, name in ipairs({ "to_equal", "to_be_nil", "to_be_truthy", "to_contain", "to_error", "to_be" }) do
  matchers[camel(name)] = matchers[name]
end

local expectation = {}

local function new_expectation(value, note, negated)
  local made = { value = value, note = note, negated = negated }
  return setmetatable({}, {
    __index = function(own, name)
      if name == "never" then
        return function() return new_expectation(value, note, not negated) end
      end
      local matcher = matchers[name]
      if matcher == nil then
        return fail("expect(...) has no matcher '" .. tostring(name) .. "'; there are " .. MATCHERS)
      end
      return function(first, ...)
        return expectation.check(made, own, matcher, rawequal(first, own) and 0 or 1, first, ...)
      end
    end,
    __metatable = false,
    __name = "expectation",
  })
end

function expectation.check(made, own, matcher, from, first, ...)
  local wanted = first
  if from == 0 then wanted = (...) end
  local good, problem, negated_problem = matcher(made.value, wanted)
  if made.negated then good, problem = not good, negated_problem end
  if good then return own end
  if made.value == nil and type(made.note) == "string" then
    problem = problem .. "\n  it came with: " .. made.note
  end
  return fail(problem)
end

-- A call that failed gives `nil, message`; the message is told with the failure.
function T.expect(value, note)
  return new_expectation(value, note, false)
end

-- assert_* -------------------------------------------------------------------------------------

local function claim(good, problem, message)
  if good then return end
  if message ~= nil then problem = message_of(message) .. ": " .. problem end
  return fail(problem)
end

function T.assert_equal(actual, expected, message)
  if not equal(actual, expected) then claim(false, unequal(actual, expected), message) end
end

function T.assert_true(value, message)
  claim(value == true, "expected true, got " .. shown(value), message)
end

function T.assert_false(value, message)
  claim(value == false, "expected false, got " .. shown(value), message)
end

function T.assert_nil(value, message)
  claim(value == nil, "expected nil, got " .. shown(value), message)
end

function T.assert_not_nil(value, message)
  claim(value ~= nil, "expected a value, got nil", message)
end

function T.assert_error(f, pattern, message)
  local raised, text = raises(f, "assert_error")
  local fitting = raised and fits(text, pattern, "assert_error")
  if not fitting then claim(false, no_error(pattern, text), message) end
end

function T.assert_contains(hay, needle, message)
  if contains(hay, needle) then return end
  claim(false, "expected " .. shown(hay) .. "\n  to contain " .. shown(needle), message)
end

function T.assert_type(value, wanted, message)
  local is = type(value)
  local good = is == wanted or (is == "number" and math_type(value) == wanted)
  claim(good, "expected a " .. tostring(wanted) .. ", got " .. shown(value), message)
end

-- A function that notes with what it was called: `local f, calls = spy(g)`.
function T.spy(f)
  if f ~= nil and type(f) ~= "function" then
    return misuse("spy takes a function, got " .. type(f))
  end
  local calls = {}
  return function(...)
    calls[#calls + 1] = { n = select("#", ...), ... }
    if f then return f(...) end
  end, calls
end

-- Registration ---------------------------------------------------------------------------------

local HOOKS = { "before_all", "after_all", "before_each", "after_each" }
local next_number = 0
local root, current      -- the group of everything, the group that is being declared
local runner             -- the coroutine in which tests run
local loading            -- what a file that is being discovered adds to

local function new_suite(name, parent)
  local made = { name = name, parent = parent, children = {} }
  for _, kind in ipairs(HOOKS) do made[kind] = {} end
  return made
end

function T.reset()
  root = new_suite(nil, nil)
  current = root
end
T.reset()

-- An interrupted run leaves its coroutine dead behind.
local function running()
  if runner ~= nil and status(runner) == "dead" then runner = nil end
  return runner ~= nil
end

local function outside(who)
  if running() then
    return misuse(who .. " cannot be called while tests run; declare tests before run_all()")
  end
end

local function named(who, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    return misuse(who .. " takes a name, got " .. type(name))
  end
  return tostring(name)
end

local function body(who, f)
  if type(f) ~= "function" then return misuse(who .. " takes a function, got " .. type(f)) end
  return f
end

local function place_here()
  return (gsub(position(), ": $", ""))
end

local function full_name(suite, name)
  local parts = { name }
  while suite do
    if suite.name then insert(parts, 1, suite.name) end
    suite = suite.parent
  end
  return concat(parts, " > ")
end

function T.describe(name, f)
  outside("describe")
  local outer = current
  local suite = new_suite(named("describe", name), outer)
  body("describe", f)
  outer.children[#outer.children + 1] = suite
  current = suite
  local ok, message = pcall(f)
  current = outer
  if not ok then error(message, 0) end
end

local function declare(who, name, f)
  outside(who)
  next_number = next_number + 1
  name = full_name(current, named(who, name))
  current.children[#current.children + 1] = { test = true, number = next_number, name = name,
    body = f, place = place_here() }
end

function T.it(name, f)
  declare("it", name, body("it", f))
end

function T.test(name, f)
  declare("test", name, body("test", f))
end

-- Declares a test that is not run; within a test it ends that one as skipped.
function T.skip(name, f)
  if running() then
    local marker = {}
    SKIP[marker] = named("skip", name == nil and "skipped" or name)
    error(marker, 0)
  end
  if f ~= nil then body("skip", f) end
  declare("skip", name)
end

for _, kind in ipairs(HOOKS) do
  T[kind] = function(f)
    outside(kind)
    local hooks = current[kind]
    hooks[#hooks + 1] = body(kind, f)
  end
end

-- Running --------------------------------------------------------------------------------------

local function caught(value)
  if interrupted(value) then return value end
  return { value = value, trace = trace(nil, "", 2) }
end

local function settled(value)
  if not is_promise(value) then return end
  local _, message = value:await()
  if value:status() == "rejected" then error(message, 0) end
end

local function call(f)
  settled((f()))
end

-- The lines of a traceback that are the script's own.
local function own_lines(text)
  local lines = {}
  for line in gmatch(text, "[^\n]+") do
    if find(line, "^%s") and not find(line, "^%s*%[C%]") and not find(line, "^%s*%(%.%.%.tail") then
      lines[#lines + 1] = match(line, "^%s*(.-)%s*$")
    end
  end
  return lines
end

-- How the function that failed got where it failed; nil where its message says it all.
local function way_there(text)
  local lines, outside = own_lines(text), own_lines(trace(nil, "", 1))
  local last = #lines - #outside
  if last < 2 then return nil end
  lines[last] = match(lines[last], "^(.-:%d+):") or lines[last]
  return concat(lines, "\n", 1, last)
end

-- Nil, or {error, trace}, or {skipped}.
local function attempt(f)
  local ok, box = xpcall(call, caught, f)
  if ok then return nil end
  if interrupted(box) then error(box, 0) end
  if type(box) ~= "table" or box.trace == nil then return { error = message_of(box) } end
  local value = box.value
  if value ~= nil and SKIP[value] then return { skipped = SKIP[value] } end
  return { error = message_of(value), trace = way_there(box.trace) }
end

local function attempt_hooks(suite, kind)
  for _, f in ipairs(suite[kind]) do
    local failure = attempt(f)
    if failure then
      if failure.error then failure.error = kind .. " failed: " .. failure.error end
      return failure
    end
  end
end

local function wanted(test, run)
  if run.rest and test.ran then return false end
  for _, words in ipairs(run.filters) do
    if not find(lower(test.name), words, 1, true) then return false end
  end
  return true
end

local function each_wanted(suite, run, f)
  for _, child in ipairs(suite.children) do
    if not child.test then
      each_wanted(child, run, f)
    elseif wanted(child, run) then
      f(child)
    end
  end
end

local function report(run, test, state, duration, failure)
  if run.managed then
    ask("report", test.number, test.name, state, duration or 0, failure and failure.error,
      failure and failure.trace, test.place)
  end
end

local MARKS = { passed = "✓", failed = "✗", skipped = "-" }

local function say(text)
  finish(host.write(1, text .. "\n"))
end

local function indented(text, margin)
  return margin .. gsub(text, "\n", "\n" .. margin)
end

local function tell(run, result, failure)
  if run.managed then return end
  local state = result.status
  if state ~= "failed" and not run.verbose then return end
  local text = MARKS[state] .. " " .. result.name
  if state ~= "skipped" then text = format("%s (%.1f ms)", text, result.duration_ms) end
  if result.error then text = text .. "\n" .. indented(result.error, "    ") end
  if run.verbose and failure and failure.trace then
    text = text .. "\n" .. indented(failure.trace, "      ")
  end
  say(text)
end

local function conclude(run, test, state, duration, failure)
  test.ran = true
  local result = { name = test.name, status = state, duration_ms = duration,
    error = failure and failure.error, place = test.place }
  run.results[#run.results + 1] = result
  run[state] = run[state] + 1
  report(run, test, state, duration, failure)
  tell(run, result, failure)
  if state == "failed" and run.bail then run.bailed = true end
end

local function run_test(test, suites, run, failure)
  if not test.body then return conclude(run, test, "skipped", 0) end
  if run.bailed then
    return conclude(run, test, "skipped", 0, { error = "not run: an earlier test failed" })
  end
  report(run, test, "started")
  local start = ask("clock")
  if not failure then
    for _, suite in ipairs(suites) do
      failure = attempt_hooks(suite, "before_each")
      if failure then break end
    end
    failure = failure or attempt(test.body)
    for i = #suites, 1, -1 do
      local after = attempt_hooks(suites[i], "after_each")
      if after and after.error and not (failure and failure.error) then failure = after end
    end
  end
  local state = "passed"
  if failure then state = failure.error and "failed" or "skipped" end
  if state == "skipped" then failure = { error = failure.skipped } end
  conclude(run, test, state, ask("clock") - start, failure)
end

local function has_live(suite, run)
  local live = false
  each_wanted(suite, run, function(test) live = live or test.body ~= nil end)
  return live
end

local function run_suite(suite, suites, run, failure)
  local live = has_live(suite, run) and not run.bailed
  suites[#suites + 1] = suite
  if live and not failure then failure = attempt_hooks(suite, "before_all") end
  for _, child in ipairs(suite.children) do
    if not child.test then
      run_suite(child, suites, run, failure)
    elseif wanted(child, run) then
      run_test(child, suites, run, failure)
    end
  end
  if live then
    local after = attempt_hooks(suite, "after_all")
    if after and after.error then
      next_number = next_number + 1
      local test = { number = next_number, name = full_name(suite, "after_all") }
      conclude(run, test, "failed", 0, after)
    end
  end
  suites[#suites] = nil
end

-- Options and discovery ------------------------------------------------------------------------

local OPTIONS = { filter = "string", verbose = "boolean", bail = "boolean", path = "string" }

local function options_of(options)
  if options == nil then return {} end
  if type(options) ~= "table" then
    return misuse("run_all takes a table of options, got " .. type(options))
  end
  for key, value in next, options do
    local kind = OPTIONS[key]
    if kind == nil then
      return misuse("run_all has no option '" .. tostring(key)
        .. "'; there are bail, filter, path, verbose")
    end
    if type(value) ~= kind then
      return misuse("run_all: '" .. key .. "' must be a " .. kind .. ", got " .. type(value))
    end
  end
  return options
end

local function new_run(options)
  local managed, words, bail, rest = ask("wishes")
  local run = { managed = managed, bail = options.bail or bail, rest = rest,
    verbose = options.verbose, filters = {}, results = setmetatable({}, bridge.ARRAY),
    passed = 0, failed = 0, skipped = 0, start = ask("clock") }
  for _, text in ipairs({ options.filter or "", words or "" }) do
    if text ~= "" then run.filters[#run.filters + 1] = lower(text) end
  end
  return run
end

local function load_into(suite, path, run)
  local outer = current
  current, loading = suite, { suite = suite, run = run }
  local f, message = loadfile(path)
  local failure = nil
  if f == nil then
    failure = { error = tostring(message) }
  else
    failure = attempt(f)
  end
  current, loading = outer, nil
  if failure and failure.error then
    suite.children = {}
    next_number = next_number + 1
    conclude(run, { number = next_number, name = path }, "failed", 0, failure)
  end
end

local function discover(path, run)
  local joined, place = ask("files", path)
  local all = new_suite(nil, nil)
  run.rest = true
  for file in gmatch(joined .. "\0", "(.-)%z") do
    if file ~= "" then
      local suite = new_suite(nil, all)
      all.children[#all.children + 1] = suite
      load_into(suite, file, run)
    end
  end
  run.place = place
  return all
end

local function summary(run)
  local total = #run.results
  local duration = ask("clock") - run.start
  if not run.managed then
    if total == 0 then
      say("No tests" .. (#run.filters > 0 and " match the filter" or " found")
        .. (run.place and " in " .. run.place or ""))
    else
      say(format("%d %s: %d passed, %d failed, %d skipped (%.1f ms)", total,
        total == 1 and "test" or "tests", run.passed, run.failed, run.skipped, duration))
    end
    if run.failed > 0 then ask("failed") end
  end
  return { total = total, passed = run.passed, failed = run.failed, skipped = run.skipped,
    duration_ms = duration, success = run.failed == 0, results = run.results }
end

local function protected_run(suite, run)
  if run.managed then
    each_wanted(suite, run, function(test) report(run, test, "planned") end)
  end
  runner = raw_running()
  local ok, message = pcall(run_suite, suite, {}, run)
  runner = nil
  if not ok then error(message, 0) end
end

function T.run_all(options)
  outside("run_all")
  options = options_of(options)
  local run = new_run(options)
  if loading then
    -- A discovered file that calls run_all() itself: its tests run now, and count for the outer run.
    local outer = loading
    run.filters, run.verbose, run.rest = outer.run.filters, outer.run.verbose, true
    protected_run(outer.suite, run)
    for _, result in ipairs(run.results) do
      outer.run.results[#outer.run.results + 1] = result
      outer.run[result.status] = outer.run[result.status] + 1
    end
    return { total = #run.results, passed = run.passed, failed = run.failed, skipped = run.skipped,
      duration_ms = ask("clock") - run.start, success = run.failed == 0, results = run.results }
  end
  local suite = root
  if #root.children == 0 and not run.managed then suite = discover(options.path, run) end
  protected_run(suite, run)
  return summary(run)
end

-- Both spellings, dot and colon ----------------------------------------------------------------

local names = {}
for name in next, T do names[#names + 1] = name end
for _, name in ipairs(names) do
  local f = T[name]
  local function either(first, ...)
    if rawequal(first, T) then return f(...) end
    return f(first, ...)
  end
  T[name], T[camel(name)] = either, either
end

return T
