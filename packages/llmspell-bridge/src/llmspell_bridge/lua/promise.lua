-- Promises: what the async twins of declared methods return.

local bridge = ...
local host, await = bridge.host, bridge.await
local type, tostring, ipairs, setmetatable, pcall, error =
  type, tostring, ipairs, setmetatable, pcall, error

local Promise = {}
local by_token = {}
local state_of = setmetatable({}, { __mode = "k" })   -- promise → its state

local function new()
  local promise = setmetatable({}, Promise.meta)
  state_of[promise] = { status = "pending", handlers = {}, waiters = {} }
  return promise
end

local function is_promise(value)
  return type(value) == "table" and state_of[value] ~= nil
end

bridge.is_promise = is_promise

local function settle(promise, status, value)
  local state = state_of[promise]
  if state.status ~= "pending" then return end
  state.status, state.value = status, value
  for _, handler in ipairs(state.handlers) do bridge.later(handler) end
  for _, token in ipairs(state.waiters) do host.wake(token) end
  state.handlers, state.waiters = nil, nil
end

local function resolve(promise, value)
  if is_promise(value) and value ~= promise then
    local inner = state_of[value]
    local function follow() settle(promise, inner.status, inner.value) end
    if inner.status == "pending" then
      inner.handlers[#inner.handlers + 1] = follow
    else
      follow()
    end
    return
  end
  settle(promise, "fulfilled", value)
end

local function chain(promise, on_value, on_error)
  local state, made = state_of[promise], new()
  local function run()
    local handler
    if state.status == "fulfilled" then handler = on_value else handler = on_error end
    if handler == nil then return settle(made, state.status, state.value) end
    local ok, value = pcall(handler, state.value)
    if ok then resolve(made, value) else settle(made, "rejected", value) end
  end
  if state.status == "pending" then
    state.handlers[#state.handlers + 1] = run
  else
    bridge.later(run)
    host.stir()
  end
  return made
end

local methods = {}

function methods.next(promise, on_value, on_error)
  return chain(promise, on_value, on_error)
end
methods.and_then, methods.andThen, methods["then"] = methods.next, methods.next, methods.next

function methods.catch(promise, on_error)
  return chain(promise, nil, on_error)
end

function methods.finally(promise, f)
  return chain(promise, function(value)
    f()
    return value
  end, function(message)
    f()
    error(message, 0)
  end)
end

function methods.status(promise)
  return state_of[promise].status
end

function methods.is_done(promise)
  return state_of[promise].status ~= "pending"
end
methods.isDone = methods.is_done

function methods.await(promise, timeout_ms)
  local state = state_of[promise]
  if state.status == "pending" then
    if timeout_ms ~= nil and type(timeout_ms) ~= "number" then
      return bridge.fail("Validation error: await takes a number of milliseconds")
    end
    local token = host.local_token(timeout_ms)
    state.waiters[#state.waiters + 1] = token
    await(token)
    if state.status == "pending" then
      return nil, "Timeout error: promise timed out after " .. tostring(timeout_ms / 1000) .. "s"
    end
  end
  if state.status == "fulfilled" then return state.value, state.note end
  return nil, state.value
end

Promise.meta = {
  __name = "Promise",
  __metatable = false,
  __tostring = function(promise) return "Promise(" .. state_of[promise].status .. ")" end,
  -- Old scripts treat what an async form returns as the result itself: an unknown field awaits.
  __index = function(promise, key)
    local method = methods[key]
    if method ~= nil then
      return function(first, ...)
        if first == promise then return method(promise, ...) end
        return method(promise, first, ...)
      end
    end
    local result, message = methods.await(promise)
    if result == nil then error(tostring(message), 2) end
    local value = result[key]
    if type(value) ~= "function" then return value end
    -- A method that is called on the promise is meant for what came of it.
    return function(first, ...)
      if first == promise then return value(result, ...) end
      return value(first, ...)
    end
  end,
}

-- What became of the call: its results as a synchronous caller would get them.
local function conclude(promise, callback, status, value, note)
  local failed = status ~= true or (value == nil and note ~= nil)
  if status ~= true then value, note = nil, value end
  state_of[promise].note = note
  if failed then settle(promise, "rejected", note) else resolve(promise, value) end
  if callback then bridge.later(function() callback(value, note) end) end
end

function bridge.promised(callback, status, ...)
  if status == nil then return bridge.die() end
  local promise = new()
  if type(status) == "number" then
    by_token[status] = { promise, callback }
    host.promised(status)
  else
    conclude(promise, callback, status, ...)
    host.stir()
  end
  return promise
end

-- Python: the call behind `token` came back.
function bridge.settle(token, ...)
  local found = by_token[token]
  by_token[token] = nil
  if found then conclude(found[1], found[2], ...) end
end
