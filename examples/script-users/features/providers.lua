-- Which providers can be used here, and what does each answer?
--   GROQ_API_KEY=… OPENAI_API_KEY=… llmspell run examples/script-users/features/providers.lua
-- Without any key the echo stands in for a model.

local usable = {}
for _, provider in ipairs(Provider.list()) do
  local can = Provider.getCapabilities(provider.name)
  print(provider .. ": " .. (provider.available and "ready" or "not ready")
    .. ", tools " .. (can.supports_tools and "yes" or "no")
    .. ", pictures " .. (can.supports_multimodal and "yes" or "no"))
  if provider.available then usable[#usable + 1] = provider end
end
if #usable == 0 then
  print("No provider is configured: set a key, for example OPENAI_API_KEY.")
end

local function ask(model)
  local agent, why = Agent.builder():name(model):model(model):build()
  local reply
  if agent then reply, why = agent:execute("Say hello in five words.") end
  print(model .. " says: " .. (reply and reply.text or tostring(why)))
end

for _, provider in ipairs(usable) do
  local model = provider.default_model or provider.capabilities.available_models[1]
  if model then ask(provider.name .. "/" .. model) end
end
if #usable == 0 then ask("echo/any") end
