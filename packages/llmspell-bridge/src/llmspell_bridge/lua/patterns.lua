-- find, match, gmatch and gsub in bounded time: C's matcher does not return to Lua until it is done,
-- and a pattern such as `.-.-.-.-x` has it try all ways to cut a string in pieces.
--
-- How much work a pattern can be is known beforehand: the number of ways in which its quantifiers can
-- share the subject. As long as that stays below the budget, C's matcher is called as ever; what that
-- costs is one look into a table. Else the loop over the places where a match may begin runs in Lua,
-- and if even one place may be too much work, the matcher below, which runs in Lua as well and tries
-- nothing twice. Both can be interrupted.

local budget, old, position, blamed = ...   -- old: LuaJIT, which takes empty matches as Lua 5.1 does

local type, tostring, select, error, pcall, next = type, tostring, select, error, pcall, next
local string = string
local raw_find, raw_match, raw_gmatch, raw_gsub =
  string.find, string.match, string.gmatch, string.gsub
local byte, char, sub = string.byte, string.char, string.sub
local concat, unpack = table.concat, table.unpack or unpack
local floor, huge = math.floor, math.huge

local CARET, PERCENT, DOLLAR, OPEN, CLOSE, DOT, SET = 94, 37, 36, 40, 41, 46, 91

-- Work --------------------------------------------------------------------------------------------

-- In how many ways `e` quantifiers can divide `n` characters.
local function ways(n, e)
  local found = 1
  for i = 1, e do
    found = found * (n + i) / i
    if found > budget then return huge end
  end
  return found
end

local rooms = {}

-- The longest subject that `e` quantifiers can divide within the budget.
local function room(e)
  if e == 0 then return huge end
  if e > 64 then return 0 end
  local found = rooms[e]
  if found == nil then
    local low, high = 0, budget
    while low < high do
      local middle = floor((low + high + 1) / 2)
      if ways(middle, e) <= budget then low = middle else high = middle - 1 end
    end
    found = low
    rooms[e] = found
  end
  return found
end

-- Classes: `%a`, `[^,]`, `.` or a character -------------------------------------------------------

local every                             -- one of each byte
local accepted, accepted_count = {}, 0

local function all_bytes()
  local bytes = {}
  for b = 0, 255 do bytes[b + 1] = char(b) end
  every = concat(bytes)
  return every
end

-- The bytes that a class matches.
local function accept(class)
  local found = accepted[class]
  if found == nil then
    if accepted_count == 500 then accepted, accepted_count = {}, 0 end
    found = {}
    if #class == 1 and class ~= "." then found[byte(class)] = true
    else for c in raw_gmatch(every or all_bytes(), class) do found[byte(c)] = true end end
    accepted[class], accepted_count = found, accepted_count + 1
  end
  return found
end

-- The same class in few characters, so that a look at it takes no time of note.
local function short(class)
  if #class <= 64 then return class end
  local parts, inside = { "[" }, accept(class)
  for b = 0, 255 do
    if inside[b] then
      local c = char(b)
      parts[#parts + 1] = raw_find(c, "^%w") and c or "%" .. c
    end
  end
  if #parts == 1 then return "[^%s%S]" end
  parts[#parts + 1] = "]"
  return concat(parts)
end

local function literal(class)
  local first = byte(class)
  if #class == 1 then return first ~= DOT and class or nil end
  if first == PERCENT and raw_find(class, "^%%%W") then return sub(class, 2) end
  return nil
end

-- Reading a pattern -------------------------------------------------------------------------------

local QUANTIFIER = { ["*"] = "star", ["+"] = "plus", ["-"] = "minus", ["?"] = "option" }

local function class_end(p, at)
  local first = byte(p, at)
  if first == PERCENT then
    if at == #p then error("malformed pattern (ends with '%')", 0) end
    return at + 1
  elseif first ~= SET then
    return at
  end
  at = at + 1
  if byte(p, at) == CARET then at = at + 1 end
  repeat
    local b = byte(p, at)
    if b == nil then error("malformed pattern (missing ']')", 0) end
    at = at + (b == PERCENT and 2 or 1)
  until byte(p, at) == 93
  return at
end

local function special(p, at)
  local b, after = byte(p, at), byte(p, at + 1)
  if b == OPEN then
    if after == CLOSE then return { op = "position" }, at + 2 end
    return { op = "open" }, at + 1
  elseif b == CLOSE then
    return { op = "close" }, at + 1
  elseif b == DOLLAR and at == #p then
    return { op = "end" }, at + 1
  elseif b == PERCENT and after == 98 then
    if #p < at + 3 then error("malformed pattern (missing arguments to '%b')", 0) end
    return { op = "balance", from = sub(p, at + 2, at + 2), to = sub(p, at + 3, at + 3) }, at + 4
  elseif b == PERCENT and after == 102 then
    if byte(p, at + 2) ~= SET then error("missing '[' after '%f' in pattern", 0) end
    local stop = class_end(p, at + 2)
    return { op = "frontier", class = sub(p, at + 2, stop) }, stop + 1
  elseif b == PERCENT and after and after >= 48 and after <= 57 then
    return { op = "back", index = after - 48 }, at + 2
  end
end

-- Gives captures their numbers.
local function number(items)
  local open, closed, count, levels = {}, {}, 0, 0
  for _, item in next, items do
    if item.op ~= "one" then levels = levels + 1 end
    if levels > 200 then error("pattern too complex", 0) end
    if item.op == "open" or item.op == "position" then
      count = count + 1
      if count > 32 then error("too many captures", 0) end
      item.index = count
      if item.op == "open" then open[#open + 1] = count else closed[count] = true end
    elseif item.op == "close" then
      if #open == 0 then error("invalid pattern capture", 0) end
      item.index = open[#open]
      open[#open], closed[item.index] = nil, true
    elseif item.op == "back" and not closed[item.index] then
      error("invalid capture index %" .. item.index, 0)
    end
  end
  if #open > 0 then error("unfinished capture", 0) end
  return count
end

local function read(p)
  local items, at, n = {}, 1, #p
  local anchored = byte(p) == CARET
  if anchored then at = 2 end
  while at <= n do
    local item, after = special(p, at)
    if item == nil then
      local stop = class_end(p, at)
      item = { op = "one", class = short(sub(p, at, stop)) }
      after = stop + 1
      local quantifier = QUANTIFIER[sub(p, after, after)]
      if quantifier then item.op, after = quantifier, after + 1 end
    end
    items[#items + 1], at = item, after
  end
  return { anchored = anchored, items = items, captures = number(items), text = p }
end

-- Which quantifiers may be retried ----------------------------------------------------------------

local SILENT = { open = true, close = true, position = true }
local OPTIONAL = { star = true, minus = true, option = true }
local REPEATS = { star = true, plus = true, minus = true, option = true }

local function join(a, b)
  local made = {}
  for key in next, a do made[key] = true end
  for key in next, b do made[key] = true end
  return made
end

local function meet(a, b)
  for key in next, a do
    if b[key] then return true end
  end
  return false
end

-- Walks from the end: what may come next (`first`, nil for anything), whether what follows cannot
-- fail (`sure`), whether it is optional to the end (`pliant`). A quantifier is retried in vain when
-- what it would give back cannot begin what follows; never, when what follows cannot fail.
local function judge(info)
  local items = info.items
  local first, sure, pliant, empty = {}, true, true, true
  local retried, scans = 0, false
  for k = #items, 1, -1 do
    local item, op = items[k], items[k].op
    if REPEATS[op] then
      local own = accept(item.class)
      item.strict = first ~= nil and not meet(own, first)
      if not sure and not item.strict then
        retried = retried + 1
      elseif not sure and op ~= "option" then
        scans = true
      end
      if OPTIONAL[op] then
        first = first and join(first, own)
        sure = sure or (pliant and item.class == "." and op ~= "option")
      else
        first, sure, pliant, empty = own, false, false, false
      end
    elseif op == "one" then
      first, sure, pliant, empty = accept(item.class), false, false, false
    elseif op == "end" then
      first, sure = {}, false
    elseif op == "balance" then
      first, sure, pliant, empty = { [byte(item.from)] = true }, false, false, false
      scans = true
    elseif not SILENT[op] then           -- a frontier or what was captured
      first, sure, pliant = nil, false, false
      if op == "back" then scans, info.backs = true, true end
    end
  end
  info.nullable = empty
  local e = retried + (scans and 1 or 0)
  local heavy = 1 + floor(#info.text / 256)
  info.attempt = floor(room(e) / heavy)
  info.whole = info.anchored and info.attempt or floor(room(e + 1) / heavy)
end

-- Where a match may begin: at `jump` only; and not again in the run of `skip` after a failure.
local function openings(info)
  for _, item in next, info.items do
    if not SILENT[item.op] then
      if item.op == "one" or item.op == "plus" then
        info.jump = literal(item.class) or item.class
        info.plain = literal(item.class) ~= nil
      end
      if REPEATS[item.op] and item.op ~= "option" and not info.backs then
        info.skip = "^" .. item.class .. "*"
      end
      return
    end
  end
end

-- The matcher -------------------------------------------------------------------------------------

local subject, size                     -- of the search in progress
local starts, stops = {}, {}
local MANY = 100000                     -- failures to remember
local POSITION = -1

local function forget(info)
  local failures = {}
  for k = 1, #info.items do failures[k] = {} end
  info.failures, info.count = failures, 0
end

-- The item `k` cannot be matched at `i`, whatever came before: never try that again.
local function failed(info, k, i)
  if info.backs then return end
  info.failures[k][i] = true
  info.count = info.count + 1
  if info.count > MANY then forget(info) end
end

local make = {}

function make.one(item, rest)
  local c = literal(item.class)
  local wanted, inside = c and byte(c), accept(item.class)
  if wanted then
    return function(i)
      if byte(subject, i) == wanted then return rest(i + 1) end
    end
  end
  return function(i)
    local b = byte(subject, i)
    if b and inside[b] then return rest(i + 1) end
  end
end

function make.star(item, rest, wanted, k, info)
  local run, least = "^" .. item.class .. "*", item.op == "plus" and 1 or 0
  local strict = item.strict
  return function(i)
    if info.failures[k][i] then return nil end
    local _, last = raw_find(subject, run, i)
    local low = strict and last + 1 or i + least
    if low >= i + least then
      for j = last + 1, low, -1 do
        if wanted == nil or byte(subject, j) == wanted then
          local found = rest(j)
          if found then return found end
        end
      end
    end
    failed(info, k, i)
  end
end
make.plus = make.star

function make.minus(item, rest, wanted, k, info)
  local run, inside = "^" .. item.class .. "*", accept(item.class)
  local text = wanted and char(wanted)
  return function(i)
    if info.failures[k][i] then return nil end
    if text then
      local _, last = raw_find(subject, run, i)
      local j = raw_find(subject, text, i, true)
      while j and j <= last + 1 do
        local found = rest(j)
        if found then return found end
        j = raw_find(subject, text, j + 1, true)
      end
    else
      local j = i
      while true do
        local found = rest(j)
        if found then return found end
        local b = byte(subject, j)
        if not b or not inside[b] then break end
        j = j + 1
      end
    end
    failed(info, k, i)
  end
end

function make.option(item, rest, _, k, info)
  local inside = accept(item.class)
  return function(i)
    if info.failures[k][i] then return nil end
    local b = byte(subject, i)
    local found = b and inside[b] and rest(i + 1) or rest(i)
    if found then return found end
    failed(info, k, i)
  end
end

make["end"] = function()
  return function(i)
    if i == size + 1 then return i end
  end
end

function make.open(item, rest)
  local index = item.index
  return function(i)
    local start, stop = starts[index], stops[index]
    starts[index] = i
    local found = rest(i)
    if not found then starts[index], stops[index] = start, stop end
    return found
  end
end

function make.close(item, rest)
  local index = item.index
  return function(i)
    local stop = stops[index]
    stops[index] = i
    local found = rest(i)
    if not found then stops[index] = stop end
    return found
  end
end

function make.position(item, rest)
  local index = item.index
  return function(i)
    starts[index], stops[index] = i, POSITION
    return rest(i)
  end
end

function make.back(item, rest)
  local index = item.index
  return function(i)
    local first, stop = starts[index], stops[index]
    if stop == POSITION then return nil end
    local length = stop - first
    if sub(subject, first, stop - 1) == sub(subject, i, i + length - 1) then
      return rest(i + length)
    end
  end
end

function make.balance(item, rest)
  local from, to = byte(item.from), byte(item.to)
  local either = "[%" .. item.from .. "%" .. item.to .. "]"
  if raw_find(item.from .. item.to, "%w") then either = nil end
  return function(i)
    if byte(subject, i) ~= from then return nil end
    local depth, j = 1, i + 1
    while j <= size do
      if either then
        j = raw_find(subject, either, j)
        if j == nil then return nil end
      end
      local b = byte(subject, j)
      if b == to then
        depth = depth - 1
        if depth == 0 then return rest(j + 1) end
      elseif b == from then
        depth = depth + 1
      end
      j = j + 1
    end
  end
end

function make.frontier(item, rest)
  local inside = accept(item.class)
  return function(i)
    local before, here = i > 1 and byte(subject, i - 1) or 0, byte(subject, i) or 0
    if not inside[before] and inside[here] then return rest(i) end
  end
end

local function compiled(info)
  local node = function(i) return i end
  local wanted
  local items = info.items
  for k = #items, 1, -1 do
    local item = items[k]
    node = make[item.op](item, node, wanted, k, info)
    if item.op == "one" then
      local c = literal(item.class)
      wanted = c and byte(c)
    elseif not SILENT[item.op] then
      wanted = nil
    end
  end
  return node
end

-- Searching ---------------------------------------------------------------------------------------

local infos, info_count = {}, 0

local function told(p)
  local info = infos[p]
  if info == nil then
    if info_count == 500 then infos, info_count = {}, 0 end
    info = read(p)
    judge(info)
    openings(info)
    infos[p], info_count = info, info_count + 1
  end
  return info
end

local function packed(first, last, ...)
  if first == nil or select("#", ...) == 0 then return first, last, nil end
  return first, last, { ... }
end

-- One attempt at the place `i`, by C.
local function light(s, info)
  local p = info.anchored and info.text or "^" .. info.text
  return function(i) return packed(raw_find(s, p, i)) end
end

-- The same, by the matcher.
local function careful(s, info)
  local matcher = info.matcher
  if matcher == nil then
    matcher = compiled(info)
    info.matcher = matcher
  end
  return function(i)
    subject, size = s, #s
    if info.subject ~= s then
      info.subject = s
      forget(info)
    end
    local stop = matcher(i)
    if not stop then return nil end
    local found
    if info.captures > 0 then
      found = {}
      for index = 1, info.captures do
        if stops[index] == POSITION then found[index] = starts[index]
        else found[index] = sub(s, starts[index], stops[index] - 1) end
      end
    end
    return i, stop - 1, found
  end
end

-- A function from a position to the next match: where it is and its captures.
local function searcher(s, info)
  local n = #s
  local attempt = n <= info.attempt and light(s, info) or careful(s, info)
  if info.anchored then return attempt end
  local jump, plain, skip = info.jump, info.plain, info.skip
  return function(i)
    while i <= n + 1 do
      if jump then
        i = raw_find(s, jump, i, plain)
        if i == nil then return nil end
      end
      local first, last, captures = attempt(i)
      if first then return first, last, captures end
      if skip then
        local _, stop = raw_find(s, skip, i)
        i = stop + 2
      else
        i = i + 1
      end
    end
  end
end

-- A long text that is no pattern: C looks at all of it at each place where its first byte is.
local function plain_find(s, text, i)
  local m = #text
  if m == 0 then
    if i > #s + 1 then return nil end
    return i, i - 1
  end
  local head = sub(text, 1, 64)
  while true do
    i = raw_find(s, head, i, true)
    if i == nil or i + m - 1 > #s then return nil end
    if sub(s, i, i + m - 1) == text then return i, i + m - 1 end
    i = i + 1
  end
end

local function beginning(init, n)
  if init == nil or init == 0 then return 1 end
  if init > 0 then return init end
  return init < -n and 1 or n + init + 1
end

-- The functions -----------------------------------------------------------------------------------

-- Pattern → how long a subject C gets without a closer look; -1 for what is no pattern.
local limits, known = {}, 0

local function glance(p)
  if type(p) ~= "string" then return -1 end
  local rest = raw_gsub(p, "%%[^bf%d]", "")
  local simple = not raw_find(rest, "[%%%(%)%[]")
  local _, e = raw_gsub(rest, "[*+?%-]", "")
  local limit = -1
  if simple and e <= 200 or pcall(read, p) then
    local _, others = raw_gsub(rest, "%%[b%d]", "")
    e = e + others + (byte(p) == CARET and 0 or 1)
    limit = floor(room(e) / (1 + floor(#p / 64)))
  end
  if known == 1000 then limits, known = {}, 0 end
  limits[p], known = limit, known + 1
  return limit
end

-- What is known of `p`, or nothing where C may take it.
local function closer(s, p)
  local ok, info = pcall(told, p)
  if not ok then error(position() .. info, 0) end
  if #s <= info.whole then
    if limits[p] then limits[p] = info.whole end
    return nil
  end
  return info
end

local function asks(s, p, init)
  return type(s) == "string" and type(p) == "string"
    and (init == nil or type(init) == "number")
end

local function slow_find(s, p, init, plain)
  if not asks(s, p, init) then return blamed("find", pcall(raw_find, s, p, init, plain)) end
  local i = beginning(init, #s)
  if plain or not raw_find(p, "[%^%$%*%+%?%.%(%)%[%]%%%-]") then
    if #s * #p <= budget * 8 then return raw_find(s, p, init, true) end
    return plain_find(s, p, i)
  end
  local info = closer(s, p)
  if info == nil then return raw_find(s, p, init) end
  if i > #s + 1 then return nil end
  local first, last, captures = searcher(s, info)(i)
  if first == nil then return nil end
  if captures == nil then return first, last end
  return first, last, unpack(captures)
end

local function find(s, p, init, plain)
  local limit = limits[p] or glance(p)
  if type(s) == "string" and #s <= limit and (init == nil or type(init) == "number") then
    return raw_find(s, p, init, plain)
  end
  return slow_find(s, p, init, plain)
end

local function slow_match(s, p, init)
  if not asks(s, p, init) then return blamed("match", pcall(raw_match, s, p, init)) end
  local info = closer(s, p)
  if info == nil then return raw_match(s, p, init) end
  local i = beginning(init, #s)
  if i > #s + 1 then return nil end
  local first, last, captures = searcher(s, info)(i)
  if first == nil then return nil end
  if captures == nil then return sub(s, first, last) end
  return unpack(captures)
end

local function match(s, p, init)
  local limit = limits[p] or glance(p)
  if type(s) == "string" and #s <= limit and (init == nil or type(init) == "number") then
    return raw_match(s, p, init)
  end
  return slow_match(s, p, init)
end

-- Lua 5.1 finds an empty match where another one ended; Lua 5.4 does not.
local function old_empty(p)
  if not old or type(p) ~= "string" then return false end
  local ok, info = pcall(told, p)
  return ok and info.nullable
end

local function each(s, info, i)
  local search, last_end, n = searcher(s, info), nil, #s
  return function()
    while i <= n + 1 do
      local first, last, captures = search(i)
      if first == nil then
        i = n + 2
        return nil
      end
      if last + 1 ~= last_end then
        i, last_end = last + 1, last + 1
        if captures == nil then return sub(s, first, last) end
        return unpack(captures)
      end
      i = first + 1
    end
  end
end

local function slow_gmatch(s, p, init)
  if not asks(s, p, init) then return blamed("gmatch", pcall(raw_gmatch, s, p, init)) end
  local info = closer(s, p)
  if info == nil then
    if not old_empty(p) and not (old and init) then return raw_gmatch(s, p, init) end
    info = told(p)
  end
  return each(s, info, beginning(init, #s))
end

local function gmatch(s, p, init)
  if type(p) == "string" and byte(p) == CARET then p = "%" .. p end    -- no anchor here
  local limit = limits[p] or glance(p)
  if type(s) == "string" and #s <= limit and init == nil and not (old and old_empty(p)) then
    return raw_gmatch(s, p)
  end
  return slow_gmatch(s, p, init)
end

-- A replacement text with captures put in; or nil and what is wrong with it.
local function filled(whole, captures, text)
  if not raw_find(text, "%", 1, true) then return text end
  local wrong
  local made = raw_gsub(text, "%%(.?)", function(c)
    if c == "%" then return c end
    if c == "0" then return whole end
    if not raw_find(c, "^%d") then
      wrong = "invalid use of '%' in replacement string"
      return nil
    end
    if c == "1" and not captures then return whole end
    local found = captures and captures[c + 0]
    if found == nil then wrong = "invalid capture index %" .. c .. " in replacement string" end
    return found
  end)
  if wrong then return nil, wrong end
  return made
end

-- What a match is replaced with.
local function replacement(whole, captures, repl, kind)
  if kind == "string" then return filled(whole, captures, repl) end
  local value
  if kind == "table" then
    value = repl[captures and captures[1] or whole]
  elseif captures then
    value = repl(unpack(captures))
  else
    value = repl(whole)
  end
  if value == nil or value == false then return whole end
  local t = type(value)
  if t == "string" or t == "number" then return value end
  return nil, "invalid replacement value (a " .. t .. ")"
end

local KINDS = { string = true, number = true, ["function"] = true, table = true }

-- A call whose errors have no position, rather than ours.
local bare = load(string.dump(function(f, ...) return f(...) end, true), "=[llmspell]")

local function slow_gsub(s, p, repl, most)
  local kind = type(repl)
  if not asks(s, p, most) or not KINDS[kind] then
    return blamed("gsub", pcall(raw_gsub, s, p, repl, most))
  end
  if kind == "number" then repl, kind = tostring(repl), "string" end
  local info = closer(s, p)
  if info == nil then
    if not old_empty(p) then
      if kind == "string" then return blamed("gsub", pcall(raw_gsub, s, p, repl, most)) end
      return bare(raw_gsub, s, p, repl, most)
    end
    info = told(p)
  end
  local search, n, count, i, last_end = searcher(s, info), #s, 0, 1, nil
  local parts, kept = {}, 1              -- `kept`: what stands before it is in `parts`
  most = most or huge
  while count < most and i <= n + 1 do
    local first, last, captures = search(i)
    if first == nil then break end
    if last + 1 == last_end then
      i = first + 1
    else
      count = count + 1
      local text, wrong = replacement(sub(s, first, last), captures, repl, kind)
      if text == nil then error(position() .. wrong, 0) end
      parts[#parts + 1] = sub(s, kept, first - 1)
      parts[#parts + 1] = text
      kept, i, last_end = last + 1, last + 1, last + 1
    end
    if info.anchored then break end
  end
  parts[#parts + 1] = sub(s, kept)
  return concat(parts), count
end

local function gsub(s, p, repl, most)
  local limit = limits[p] or glance(p)
  if type(s) == "string" and #s <= limit and type(repl) == "string" and most == nil
    and not raw_find(repl, "%", 1, true) and not (old and old_empty(p)) then
    return raw_gsub(s, p, repl)
  end
  return slow_gsub(s, p, repl, most)
end

return { find = find, match = match, gmatch = gmatch, gsub = gsub }
