-- What models may cost, and who answers when one cannot.
--
--   llmspell run examples/script-users/features/budget.lua
--   llmspell run --budget 1call examples/script-users/features/budget.lua
--
-- The echo model needs no key and costs nothing; put your own in its place:
--   llmspell run examples/script-users/features/budget.lua -- --model openai/gpt-4o-mini

local model = ARGS.model or "echo/any"

local agent = Agent.builder()
    :name("thrifty")
    :model(model)
    :fallback({"echo/substitute"}) -- asked when the model fails, is too busy, or has no quota
    :budget({tokens = 2000, calls = 3, seconds = 60}) -- of one execution; cost = 0.05 is dollars
    :build()

local answer, problem = agent:execute("Say hello in one sentence.")
if not answer then
    print("no answer: " .. problem)
    return
end

print(answer.text)
print("answered by " .. answer.metadata.provider .. "/" .. answer.metadata.model)
print("calls so far: " .. answer.metadata.budget.calls)
local cost = answer.metadata.cost
print("cost: " .. (cost and string.format("$%.6f", cost) or "unknown"))

-- `--budget` on the command line bounds the whole script, with everything it starts.
local again, over = agent:execute("And goodbye.")
print(again and again.text or "no answer: " .. over)
