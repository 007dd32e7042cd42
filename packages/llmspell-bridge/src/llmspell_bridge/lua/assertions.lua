-- The assertions of the test library: values as text, deep equality, `expect`, `assert_*`, `spy`.

local bridge = ...
local fail, interrupted, getinfo = bridge.fail, bridge.interrupted, bridge.getinfo
local objects, lives, NULL = bridge.objects, bridge.lives, bridge.NULL
local type, tostring, next, select, error, rawget = type, tostring, next, select, error, rawget
local pcall, setmetatable, getmetatable = pcall, setmetatable, getmetatable
local ipairs, rawequal, pairs = ipairs, rawequal, bridge.G.pairs
local format, sub, gsub, find = string.format, string.sub, string.gsub, string.find
local byte, upper, concat, sort = string.byte, string.upper, table.concat, table.sort
local utf8 = bridge.G.utf8
local math_type = math.type or function(x) return x % 1 == 0 and "integer" or "float" end

local T = {}                                       -- the module
local SKIP = setmetatable({}, { __mode = "k" })    -- what a skipped test raises → why

local function misuse(message)
  return fail("Validation error: " .. message)
end

-- Values as text -------------------------------------------------------------------------------

local MAX_DEPTH, MAX_ITEMS, MAX_TEXT = 4, 20, 200
local ESCAPES = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escaped(c)
  return ESCAPES[c] or format("\\%03d", byte(c))
end

local function quoted(text)
  local cut = #text > MAX_TEXT
  local shown = gsub(cut and sub(text, 1, MAX_TEXT) or text, '[%c"\\]', escaped)
  -- A message is text, whatever it shows; a character may be cut in two.
  if utf8 and not utf8.len(shown) then shown = gsub(shown, "[\128-\255]", escaped) end
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
  return (gsub(name, "_(%l)", function(c) return upper(c) end))
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

return { module = T, skips = SKIP, misuse = misuse, message_of = message_of, camel = camel }
