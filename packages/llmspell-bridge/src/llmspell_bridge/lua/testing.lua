-- The test library of scripts, `require("llmspell.test")`: declaring tests and running them. It is
-- read when it is first required.
--
-- Tests run in the coroutine that calls `run_all`, so they wait, call tools and hold promises as
-- any script does.

local bridge, assertions = ...
local host, finish, position = bridge.host, bridge.finish, bridge.position
local interrupted, trace, is_promise = bridge.interrupted, bridge.trace, bridge.is_promise
local T, SKIP, misuse = assertions.module, assertions.skips, assertions.misuse
local message_of, camel = assertions.message_of, assertions.camel
local type, tostring, next, error, rawequal = type, tostring, next, error, rawequal
local pcall, xpcall, setmetatable, ipairs = pcall, xpcall, setmetatable, ipairs
local format, lower, gsub, find = string.format, string.lower, string.gsub, string.find
local match, gmatch, concat, insert = string.match, string.gmatch, table.concat, table.insert
local raw_running, status = coroutine.running, coroutine.status
local loadfile = bridge.G.loadfile

local function ask(...)
  return finish(host.testing(...))
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
  name = full_name(current, named(who, name))
  if f ~= nil or who ~= "skip" then body(who, f) end
  if who == "skip" then f = nil end
  next_number = next_number + 1
  current.children[#current.children + 1] = { test = true, number = next_number, name = name,
    body = f, place = place_here() }
end

function T.it(name, f)
  declare("it", name, f)
end

function T.test(name, f)
  declare("test", name, f)
end

-- Declares a test that is not run; within a test it ends that one as skipped.
function T.skip(name, f)
  if running() then
    local marker = {}
    SKIP[marker] = named("skip", name == nil and "skipped" or name)
    error(marker, 0)
  end
  declare("skip", name, f)
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
