-- A team of agents: two researchers work at once, an editor gets their notes, a judge votes along.
-- Runs offline: `llmspell run examples/script-users/features/agent_team.lua`.
-- With a model: `llmspell run examples/script-users/features/agent_team.lua -- --model openai/gpt-4o-mini`

local model = ARGS.model or "echo/any"

local function agent(name, prompt, words)
    return Agent.create{
        name = name,
        model = model,
        system_prompt = prompt,
        capabilities = words or {},
        tools = {"calculator"},
    }
end

agent("oceans", "You know everything about the sea. One sentence.", {"sea"})
agent("cities", "You know everything about cities. One sentence.", {"cities"})
agent("editor", "You turn notes into one paragraph.")

-- The researchers at once, then the editor with their answers. One budget for all of them.
local magazine = Agent.create_composite{
    name = "magazine",
    agents = {"editor", "oceans", "cities"},
    strategy = "hierarchical",
    budget = {tokens = 20000, seconds = 120},
}

-- A question for one of them goes to whoever knows about it.
local desk = Agent.create_composite("desk", {"oceans", "cities"}, "best_match")

local article, problem = magazine:execute("What is a harbour?")
if not article then
    print("no article: " .. problem)
    return {success = false, error = problem}
end
print("article by " .. #article.metadata.agent_results .. " agents")
for _, done in ipairs(article.metadata.agent_results) do
    print(string.format("  %-8s %s", done.agent, done.success and "done" or done.error))
end

local answer = desk:execute{text = "How big is Oslo?", parameters = {capabilities = {"cities"}}}
print("answered by " .. answer.metadata.chosen[1])

-- The whole team as a tool, for scripts, workflows and other agents.
local tool = Agent.wrap_as_tool(magazine, {tool_name = "ask_magazine", category = "research"})
print("as a tool: " .. tostring(Tool.invoke(tool, {input = "What is a quay?"}).success))

print("tokens so far: " .. (magazine:get_metrics().tokens > 0 and "some" or "none"))
print("health: " .. magazine:get_health().status)
return {success = true, text = article.text}
