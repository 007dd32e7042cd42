-- Sorts messages of customers: by rules where they suffice, by a model where they do not.

local M = {}

M.topics = { "billing", "defect", "other" }

local RULES = { invoice = "billing", refund = "billing", crash = "defect", broken = "defect" }

-- The topic that a word of the message gives away, or nil.
function M.by_rules(message)
  for word in message:lower():gmatch("%a+") do
    if RULES[word] then return RULES[word] end
  end
end

-- `ask(prompt)` gives a model's answer, or nil and why there is none. So does this function.
function M.sort(message, ask)
  if type(message) ~= "string" or not message:find("%S") then
    error("a message must be a text", 2)
  end
  local topic = M.by_rules(message)
  if topic then return { topic = topic, by = "rules" } end
  local answer, why = ask("Which of these is it about, in one word: "
    .. table.concat(M.topics, ", ") .. "?\n" .. message)
  if not answer then return nil, why end
  for _, known in ipairs(M.topics) do
    if answer:lower():find(known, 1, true) then return { topic = known, by = "model" } end
  end
  return { topic = "other", by = "model" }
end

-- A function that asks a model, for `sort`.
function M.asker(model)
  local agent = Agent.builder():model(model):memory_enabled(false):build()
  return function(prompt)
    local answer, why = agent:execute(prompt)
    return answer and answer.text, why
  end
end

return M
