-- The main job in one script: ask your documents, run a workflow, let an agent use a tool, remember.
--
--   llmspell run examples/script-users/getting-started/quickstart.lua
--
-- Works from the root of the project without a key, a network or a server. With OPENAI_API_KEY or
-- OPENAI_BASE_URL set, the same script asks that model.

local function heading(text)
  print()
  print("== " .. text .. " ==")
end

local function excerpt(text, width)
  local line = text:gsub("^#+[^\n]*%s*", ""):gsub("%s+", " ")
  if #line <= width then return line end
  return line:sub(1, width):gsub("%s%S*$", "") .. " …"
end

local has_model = Provider.isAvailable("openai")
if not has_model then
  print("No model is configured, so answers are quoted passages and the agent uses the echo model."
    .. " To ask a model: export OPENAI_API_KEY=… (or OPENAI_BASE_URL=… for a server of your own).")
end

-- 1. Remember ---------------------------------------------------------------------------------

heading("State")
local runs = State.increment("quickstart:runs")
local last = State.get("quickstart:last")
if last then
  print(("This is run %d. The last one asked %d questions and ended with %s."):format(
    runs, last.questions, last.fingerprint:sub(1, 12)))
else
  print("This is the first run; the next one will remember it.")
end

-- 2. Documents --------------------------------------------------------------------------------

heading("Retrieval")
local report = RAG.ingest({
  path = ".",
  glob = { "README.md", "CONTRIBUTING.md", "docs/**/*.md" },
  collection = "quickstart",
})
local stats = RAG.get_stats("quickstart")
print(("%d documents read, %d unchanged since the last run; %d passages in the collection."):format(
  report.documents_processed - report.documents_skipped, report.documents_skipped,
  stats.total_vectors))

local questions = {
  "What happens when a replayed script asks for something that was not recorded?",
  "Which paths may a script write to?",
  "When is an index file rebuilt?",
}

local reader
if has_model then
  reader = Agent.builder()
    :name("reader")
    :provider("openai")
    :system_prompt("Answer from the given passages only, in at most three sentences."
      .. " Name the source of each fact in square brackets.")
    :build()
end

local answers = {}
for i, question in ipairs(questions) do
  print(("\n%d. %s"):format(i, question))
  local found = RAG.search(question, { collection = "quickstart", k = 3, hybrid = true })
  local best = found[1]
  if reader then
    local passages = {}
    for _, hit in ipairs(found) do
      passages[#passages + 1] = ("[%s]\n%s"):format(hit.citation, hit.text)
    end
    local answer, err = reader:execute(table.concat(passages, "\n\n") .. "\n\nQuestion: " .. question)
    if not answer then error(err, 0) end
    print("   " .. answer.text)
  else
    print(("   “%s”"):format(excerpt(best.text, 300)))
  end
  print("   Source: " .. best.citation)
  answers[i] = { question = question, source = best.source, citation = best.citation }
end

-- 3. A workflow of three steps with tools --------------------------------------------------------

heading("Workflow")
local workflow = Workflow.builder()
  :sequential()
  :name("quickstart-report")
  :add_step({
    name = "average",
    tool = "calculator",
    input = { operation = "evaluate", input = ("round(%d / %d)"):format(
      stats.total_vectors, stats.total_documents) },
  })
  :add_step({
    name = "summary",
    tool = "json_processor",
    input = {
      operation = "stringify",
      input = { passages_per_document = "{{average.output}}", sources = answers },
    },
  })
  :add_step({
    name = "fingerprint",
    tool = "hash_calculator",
    input = { operation = "hash", algorithm = "sha256", input = "{{summary.output}}" },
  })
  :build()
local result = workflow:execute({})
if not result.success then error(result.error, 0) end
print(("%s passages per document on average."):format(result.outputs.average))
print(("Report fingerprint: %s"):format(result.outputs.fingerprint))

-- 4. An agent that calls a tool ------------------------------------------------------------------

heading("Agent")
local builder = Agent.builder():name("counter"):allow_tool("calculator"):max_tool_calls(3)
local prompt
if has_model then
  builder:provider("openai"):system_prompt("Use the calculator for every calculation.")
  prompt = "What is 17 * 23 + 4?"
else
  builder:model("echo/echo")
  prompt = 'What is 17 * 23 + 4?\n/tool calculator {"operation": "evaluate", "input": "17 * 23 + 4"}'
end
local reply, err = builder:build():execute(prompt)
if not reply then error(err, 0) end
for _, call in ipairs(reply.tool_calls) do
  print(("The model called %s(%s)."):format(call.name, JSON.stringify(call.parameters)))
end
print("It answered: " .. excerpt(reply.text, 200))

-- 5. Remember for the next run -------------------------------------------------------------------

State.set("quickstart:last", {
  questions = #questions,
  fingerprint = result.outputs.fingerprint,
})
