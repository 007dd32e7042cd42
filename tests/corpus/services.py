# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""The globals of the services: Tool, Provider, Agent, Workflow, RAG, State, Config."""

import re

from . import Like, Prints, Raises, gives, runs

AGENT = "local a = Agent.builder():name('s$N'):model('test/x'):build() "


def flow(code: str) -> str:
    """`<name expression>` in it becomes a step that calculates."""
    made = r"{name = '\1', tool = 'calculator', parameters = {input = '\2'}}"
    return re.sub(r"<(\w+) ([^<>]+)>", made, code)


# State ----------------------------------------------------------------------------------------------

runs("state.values", {
    "a text": ("State.set('a$N', 'v') return State.get('a$N')", "v"),
    "a number": ("State.set('b$N', 7) return State.get('b$N')", 7),
    "a boolean": ("State.set('c$N', false) return State.get('c$N')", False),
    "a table": ("State.set('d$N', {x = {1, 2}}) return State.get('d$N').x[2]", 2),
    "nil deletes": ("State.set('e$N', 1) State.set('e$N', nil) return State.exists('e$N')", False),
    "a copy comes back": (
        "local t = {1} State.set('f$N', t) t[1] = 2 return State.get('f$N')[1]", 1),
    "what came back is a copy": (
        "State.set('g$N', {1}) State.get('g$N')[1] = 9 return State.get('g$N')[1]", 1),
    "the later one counts": ("State.set('h$N', 1) State.set('h$N', 2) return State.get('h$N')", 2),
})  # fmt: skip
runs("state.scopes", {
    "save and load": ("State.save('user:$N', 'k', 1) return State.load('user:$N', 'k')", 1),
    "scopes are apart": (
        "State.save('user:a$N', 'k', 1) return State.load('user:b$N', 'k')", None),
    "set with three arguments": ("State.set('user:c$N', 'k', 5) return State.get('user:c$N', 'k')", 5),
    "a full key": (
        "State.save('workflow', 'p$N:status', 'ok') return {State.workflow_get('p$N', 'status'),"
        " State.get('workflow:p$N:status')}", ["ok", "ok"]),
    "an agent's": ("State.agent_set('n$N', 'k', 2) return State.get('agent:n$N:k')", 2),
    "a tool's": ("State.tool_set('n$N', 'k', 3) return State.get('tool:n$N:k')", 3),
    "the default": ("return State.get('none$N', 'fallback')", "fallback"),
    "list of keys": (
        "State.save('user:l$N', 'b', 1) State.save('user:l$N', 'a', 1)"
        " local k = State.list_keys('user:l$N') table.sort(k) return k", ["a", "b"]),
    "delete says whether it was there": (
        "State.set('d$N', 1) return {State.delete('d$N'), State.delete('d$N')}", [True, False]),
    "delete in a scope": (
        "State.save('user:x$N', 'k', 1) return {State.delete('user:x$N', 'k'),"
        " State.load('user:x$N', 'k') == nil}", [True, True]),
    "clear a scope": (
        "State.save('user:y$N', 'a', 1) State.save('user:y$N', 'b', 1)"
        " return {State.clear_scope('user:y$N'), #State.list_keys('user:y$N')}", [2, 0]),
    "setScope gives the former": (
        "local before = State.setScope('user:z$N') State.set('k', 'there') local seen = State.getScope()"
        " State.setScope(before) return {before, seen, State.load('user:z$N', 'k')}",
        ["global", "user:z$N", "there"]),
})  # fmt: skip
runs("state.atomic", {
    "increment": ("return {State.increment('i$N'), State.increment('i$N', 4), State.get('i$N')}",
                  [1, 5, 5]),
    "append": ("return {State.append('l$N', 'a'), State.append('l$N', 'b'), State.get('l$N')}",
               [1, 2, ["a", "b"]]),
    "compare and swap": (
        "State.set('s$N', 1) return {State.compare_and_swap('s$N', 2, 3),"
        " State.compare_and_swap('s$N', 1, 3), State.get('s$N')}", [False, True, 3]),
    "swap what must not be there": (
        "return {State.compare_and_swap('t$N', nil, 1), State.compare_and_swap('t$N', nil, 2)}",
        [True, False]),
    "swap a table": (
        "State.set('u$N', {a = 1}) return State.compare_and_swap('u$N', {a = 1}, {a = 2})", True),
})  # fmt: skip

# Tool -----------------------------------------------------------------------------------------------

gives("tool.registry", {
    "(function() for _, t in ipairs(Tool.list()) do if t.name == 'calculator' then return tostring(t)"
    " end end end)()": "calculator",
    "(function() local n for _, t in ipairs(Tool.list()) do if n and n > t.name then return n end n ="
    " t.name end return 'sorted' end)()": "sorted",
    "type(Tool.list()[1].description)": "string",
    "Tool.get('calculator').name": "calculator",
    "Tool.get('calculator').category": Like("[a-z]+"),
    "Tool.get('calculator').security_level": "safe",
    "Tool.calculator.name": "calculator",
    "Tool.create('calculator').name": "calculator",
    "#Tool.categories() > 0": True,
    "#Tool.discover({category = Tool.get('calculator').category}) > 0": True,
    "#Tool.discover({category = 'no such'})": 0,
    "Tool.discover({query = 'calculator'})[1].name": "calculator",
    "Tool.get_info('calculator').name": "calculator",
    "Tool.info('calculator').name": "calculator",
})  # fmt: skip
gives("tool.schema", {
    "Tool.get_schema('calculator').name": "calculator",
    "#Tool.get_schema('calculator').parameters > 0": True,
    "Tool.get_schema('calculator').parameters.input.name": "input",
    "Tool.get_schema('calculator').parameters.input.type": "string",
    "Tool.get('calculator').schema.name": "calculator",
    "Tool.get('calculator'):getSchema().parameters[1].name ~= nil": True,
})  # fmt: skip
gives("tool.result", {
    "Tool.invoke('calculator', {input = '2 + 2'}).success": True,
    "Tool.invoke('calculator', {input = '2 + 2'}).result.result": 4,
    "Tool.invoke('calculator', {input = '2 + 2'}).value": 4,
    "tonumber(Tool.invoke('calculator', {input = '2 + 2'}).output)": 4,
    "Tool.invoke('calculator', {input = '2 + 2'}).text:find('4', 1, true) ~= nil": True,
    "Tool.invoke('calculator', {operation = 'evaluate', input = '3 * 3'}).value": 9,
    "Tool.invoke('calculator', {parameters = {input = '1 + 2'}}).value": 3,
    "Tool.invoke('calculator', {expression = '10 / 4'}).value": 2.5,
    "Tool.invoke('calculator', {input = '1'}).error": None,
    "select('#', Tool.invoke('calculator', {input = '1'})) <= 2": True,
    "(select(2, Tool.invoke('calculator', {input = '1'})))": None,
    "type(Tool.invoke('calculator', {input = '1'}).metadata.execution_time_ms)": "number",
    "Tool.invoke('uuid_generator', {}).result.uuid ~= nil": True,
    "Tool.invoke('hash_calculator', {operation = 'hash', input = 'abc', algorithm = 'md5'}).result.hash":
        "900150983cd24fb0d6963f7d28e17f72",
    "Tool.invoke('json_processor', {operation = 'query', input = '{\"a\": 5}', query = '.a'}).success":
        True,
})  # fmt: skip
runs("tool.files", {
    "write, read, delete": (
        "local p = '/tmp/tf$N' Tool.invoke('file_operations', {operation = 'write', path = p,"
        " content = 'héllo'}) local r = Tool.invoke('file_operations', {operation = 'read', path = p})"
        " Tool.invoke('file_operations', {operation = 'delete', path = p}) return {r.success, r.text,"
        " r.content, (io.open(p)) == nil}", [True, "héllo", "héllo", True]),
})  # fmt: skip
runs("tool.batch", {
    "in order": (
        "local r = Tool.batch({{tool = 'calculator', params = {input = '1'}}, {tool = 'calculator',"
        " params = {input = '2'}}}) return {r[1].value, r[2].value}", [1, 2]),
    "name for tool": (
        "return Tool.batch({{name = 'calculator', params = {input = '3'}}})[1].value", 3),
    "stop on error": (
        "local r = Tool.batch({{tool = 'calculator', params = {input = '('}}, {tool = 'calculator',"
        " params = {input = '2'}}}, {parallel = false, stop_on_error = true}) return r[1].success",
        False),
})  # fmt: skip
runs("tool.register", {
    "a table is the payload": (
        "Tool.register('rp$N', function(p) return {sum = p.a + p.b} end, {parameters = {{name = 'a',"
        " type = 'number'}, {name = 'b', type = 'number'}}})"
        " return Tool.invoke('rp$N', {a = 2, b = 3}).result.sum", 5),
    "a text is the text": (
        "Tool.register{name = 'rt$N', execute = function(p) return 'hello ' .. p.who end}"
        " return Tool.invoke('rt$N', {who = 'Ada'}).text", "hello Ada"),
    "an error fails the call": (
        "Tool.register{name = 're$N', handler = function() error('inside') end}"
        " return Tool.invoke('re$N', {}).success", False),
    "a result of its own": (
        "Tool.register{name = 'rr$N', execute = function() return {success = false, error = 'mine'} end}"
        " local r = Tool.invoke('rr$N', {}) return {r.success, r.error}", [False, "mine"]),
    "a duplicate": (
        "local d = {name = 'rd$N', execute = function() return 1 end} Tool.register(d) Tool.register(d)",
        Raises("rd$N")),
    "by an agent": (
        "Tool.register{name = 'ra$N', execute = function() return 'tool said so' end}"
        " local a = Agent.create{name = 'ra$N', model = 'test/x', tools = {'ra$N'}}"
        " return a:execute('/tool ra$N {}').text:find('tool said so', 1, true) ~= nil", True),
    "unregistered": (
        "Tool.register{name = 'ru$N', execute = function() return 1 end}"
        " return {Tool.unregister('ru$N'), Tool.exists('ru$N'), Tool.unregister('ru$N')}",
        [True, False, False]),
    "a built-in stays": ("Tool.unregister('calculator')", Raises("calculator")),
    "it may call the host": (
        "Tool.register{name = 'rh$N', execute = function() Utils.sleep(1) return Tool.invoke('calculator',"
        " {input = '6 * 7'}).result end} return Tool.invoke('rh$N', {}).success", True),
})  # fmt: skip
runs("tool.pipeline", {
    "the value goes on": (
        "Tool.register{name = 'pl$N', execute = function() return '2 + 3' end} local r = Tool.pipeline("
        "{{tool = 'pl$N', params = {}}, {tool = 'calculator'}}) return {r.value, #r.steps}", [5, 2]),
})  # fmt: skip
# Provider and Config ---------------------------------------------------------------------------------

gives("provider.info", {
    "Provider.list()[1].name": "test",
    "tostring(Provider.list()[1])": "test",
    "'use ' .. Provider.list()[1]": "use test",
    "Provider.get('test').enabled": True,
    "type(Provider.get('test').type)": "string",
    "Provider.isAvailable('test')": True,
    "type(Provider.getCapabilities('test').available_models)": "table",
    "type(table.concat(Provider.getCapabilities('test').available_models, ', '))": "string",
    "type(Provider.getCapabilities('test').supports_streaming)": "boolean",
})  # fmt: skip
runs("provider.info", {
    "given to a builder": (
        "return Agent.builder():name('pb$N'):provider(Provider.get('test')):model('x'):build()"
        ":execute('hi').text", "Echo: hi"),
})  # fmt: skip
gives("config.values", {
    "Config.get('default_engine')": "lua",
    "Config.getDefaultEngine()": "lua",
    "Config.get('no.such', 'default')": "default",
    "type(Config.get())": "table",
    "Config.get('providers.test') ~= nil": True,
    "type(Config.getSection('runtime'))": "table",
    "Config.isProcessSpawnAllowed()": False,
    "Config.getSecurity().allow_process_spawn": False,
    "Config.getPermissions().access_secrets": False,
    "Config.getPermissions().read": True,
    "type(JSON.parse(Config.toJson()))": "table",
    "Config.toJson(true):find('\\n', 1, true) ~= nil": True,
    "Config.listProviders()": ["test"],
    "Config.getProvider('test').enabled": True,
})  # fmt: skip
gives("limits.time.default", {"Config.get('runtime.script_timeout_seconds') == 300": True})
gives("config.redaction", {
    "Config.getProvider('test').api_key": "<REDACTED>",
    "Config.get('providers.test.api_key')": "<REDACTED>",
    "Config.toJson():find('very-secret', 1, true)": None,
    "JSON.stringify(Config.get()):find('very-secret', 1, true)": None,
})  # fmt: skip

# Agent ----------------------------------------------------------------------------------------------

runs("agent.result", {
    "the text under all its names": (
        AGENT + "local r = a:execute('hi') return {r.text, r.response, r.content, r.output, r.message}",
        ["Echo: hi"] * 5),
    "success and error": (AGENT + "local r = a:execute('hi') return {r.success, r.error == nil}",
                          [True, True]),
    "result": (AGENT + "local r = a:execute('hi') return {r.result.content, r.result.text}",
               ["Echo: hi", "Echo: hi"]),
    "metadata": (AGENT + "local m = a:execute('hi').metadata return {m.provider, type(m.model),"
                 " type(m.execution_time_ms)}", ["test", "string", "number"]),
    "usage": (AGENT + "local u = a:execute('hi there').usage return u.total_tokens =="
              " u.prompt_tokens + u.completion_tokens", True),
    "a table as input": (AGENT + "return a:execute({text = 'from table'}).text", "Echo: from table"),
    "prompt": (AGENT + "return a:execute({prompt = 'p'}).text", "Echo: p"),
    "input": (AGENT + "return a:execute({input = 'i'}).text", "Echo: i"),
    "a tool is called": (
        "local a = Agent.create{name = 'at$N', model = 'test/x', tools = {'calculator'}}"
        " return a:execute('/tool calculator {\"input\": \"6*7\"}').text:find('42', 1, true) ~= nil", True),
})  # fmt: skip
runs("agent.life", {
    "history": (
        AGENT + "a:execute('one') local h = a:get_history() return {#h, h[1].role, h[1].content}",
        [2, "user", "one"]),
    "reset": (AGENT + "a:execute('one') a:reset() return #a:get_history()", 0),
    "a list of instances": (
        AGENT + "for _, e in ipairs(Agent.list()) do if e.name == 's$N' then return e.type end end",
        "llm"),
    "gone after destroy": (AGENT + "a:destroy() return Agent.get('s$N')", None),
    "its name is free again": (
        AGENT + "a:destroy() return Agent.builder():name('s$N'):model('test/y'):build().name", "s$N"),
    "create from a table": (
        "return Agent.create{name = 'ct$N', model = 'test/x', temperature = 0.5}:get_config().temperature",
        0.5),
    "create with a model": ("return Agent.create('test/x', {name = 'cm$N'}).name", "cm$N"),
    "register": ("return Agent.register{name = 'rg$N', model = 'test/x'}", "rg$N"),
    "templates": ("local t = Agent.list_templates() table.sort(t) return t[1]", "basic"),
    "an unknown template": ("Agent.create_from_template('x$N', 'nope', {})",
                            Raises("Template 'nope' not found")),
})  # fmt: skip
runs("agent.streaming", {
    "chunks": (
        AGENT + "local t = {} local r = a:invokeStream('one two', function(c) t[#t + 1] = tostring(c) end)"
        " return {table.concat(t), r.text, r.chunks_received > 1}",
        ["Echo: one two", "Echo: one two", True]),
    "with options": (
        AGENT + "local n = 0 a:execute_streaming('a b c', {}, function(c) n = n + 1 end) return n > 1",
        True),
    "a chunk has a text": (
        AGENT + "local kind a:invokeStream('x', function(c) kind = type(c.text) end) return kind",
        "string"),
})  # fmt: skip

# Workflow -------------------------------------------------------------------------------------------

runs("workflow.types", {
    "sequential": (
        flow("local w = Workflow.sequential{name = 'a$N', steps = {<one 1>, <two 2>}} local r = w:execute()"
             " return {r.success, r.steps_executed, r.steps.two.success}"), [True, 2, True]),
    "parallel": (
        flow("local w = Workflow.parallel{name = 'b$N', branches = {{name = 'x', steps = {<one 1>}},"
             " {name = 'y', steps = {<two 2>}}}} local r = w:execute()"
             " return {r.success, r.successful_branches, r.branches.y.success}"), [True, 2, True]),
    "conditional": (
        flow("local w = Workflow.conditional{name = 'c$N', branches = {{name = 'no', condition = 'never',"
             " steps = {<a 1>}}, {name = 'yes', condition = 'always', steps = {<b 2>}}}}"
             " return w:execute().branch_taken"), "yes"),
    "conditional with a function": (
        flow("local w = Workflow.conditional{name = 'd$N', condition = function() return false end,"
             " then_steps = {<a 1>}, else_steps = {<b 2>}} local r = w:execute()"
             " return {r.steps.a == nil, r.steps.b.success}"), [True, True]),
    "loop over a range": (
        "local n = 0 local w = Workflow.loop{name = 'e$N', iterator = {range = {start = 1, ['end'] = 4}},"
        " body = {{name = 's', type = 'custom', execute = function() n = n + 1 return n end}}}"
        " return {w:execute().iterations, n}", [4, 4]),
    "loop over a collection": (
        "local seen = {} local w = Workflow.loop{name = 'f$N', iterator = {collection = {'a', 'b'}},"
        " body = {{name = 's', type = 'custom', execute = function(c) seen[#seen + 1] = c.current_value"
        " return 1 end}}} w:execute() return seen", ["a", "b"]),
    "loop while": (
        "local n = 0 local w = Workflow.loop{name = 'g$N', iterator = {while_condition = function()"
        " return n < 3 end}, body = {{name = 's', type = 'custom', execute = function() n = n + 1"
        " return n end}}} w:execute() return n", 3),
    "by the builder": (
        flow("return Workflow.builder():name('h$N'):sequential():add_step(<s 5 + 5>):build()"
             ":execute().success"), True),
    "with_range excludes its end": (
        "local n = 0 Workflow.builder():name('i$N'):loop():with_range{start = 1, ['end'] = 4}:add_step("
        "{name = 's', type = 'custom', execute = function() n = n + 1 return n end}):build():execute()"
        " return n", 3),
})  # fmt: skip
runs("workflow.steps", {
    "a function": (
        "local w = Workflow.sequential{name = 'j$N', steps = {{name = 's', type = 'custom', execute ="
        " function() return 'made' end}}} return w:execute().outputs.s", "made"),
    "it sees its context": (
        "local w = Workflow.sequential{name = 'k$N', steps = {{name = 'a', type = 'custom', execute ="
        " function() return 5 end}, {name = 'b', type = 'custom', execute = function(c)"
        " return c.outputs.a + 1 end}}} return w:execute().outputs.b", 6),
    "an agent": (
        AGENT + "local w = Workflow.sequential{name = 'l$N', steps = {{name = 's', type = 'agent',"
        " agent = a, input = 'hi'}}} return w:execute().outputs.s", Like("Echo: hi.*")),
    "a workflow": (
        flow("local inner = Workflow.sequential{name = 'mi$N', steps = {<s 1>}}"
             " local w = Workflow.sequential{name = 'm$N', steps = {{name = 'w', type = 'workflow',"
             " workflow = inner}}} return w:execute().success"), True),
    "a placeholder": (
        "local w = Workflow.sequential{name = 'n$N', steps = {{name = 'a', type = 'custom', execute ="
        " function() return '2 + 3' end}, {name = 'b', tool = 'calculator', parameters = {input ="
        " '{{a.output}}'}}}} return w:execute().success", True),
    "a function that waits": (
        "local w = Workflow.sequential{name = 'o$N', steps = {{name = 's', type = 'custom', execute ="
        " function() Utils.sleep(2) return 'slept' end}}} return w:execute().outputs.s", "slept"),
    "two functions side by side": (
        "local order = {} local function f(n, ms) return {name = n, steps = {{name = n .. 's', type ="
        " 'custom', execute = function() Utils.sleep(ms) order[#order + 1] = n return n end}}} end"
        " Workflow.parallel{name = 'p$N', branches = {f('slow', 60), f('fast', 1)}}:execute()"
        " return order", ["fast", "slow"]),
    "one waits for the other": (
        "local ready local function b(n, f) return {name = n, steps = {{name = n .. 's', type = 'custom',"
        " execute = f}}} end local r = Workflow.parallel{name = 'q$N', branches = {"
        " b('waits', function() while not ready do Utils.sleep(1) end return 'saw it' end),"
        " b('sets', function() Utils.sleep(5) ready = true return 'set' end)}}:execute()"
        " return r.branches.waits.output", Like(".*saw it.*")),
})  # fmt: skip
gives("workflow.registry", {
    "Workflow.types()": ["sequential", "conditional", "loop", "parallel"],
    "#Workflow.discover_types()": 4,
    "Workflow.discover_types()[1].type": "sequential",
})  # fmt: skip
runs("workflow.registry", {
    "found by id and name": (
        flow("local w = Workflow.sequential{name = 'r$N', steps = {<s 1>}}"
             " return {Workflow.get(w.id).id == w.id, Workflow.get('r$N').id == w.id,"
             " Workflow.get(w.id).type}"), [True, True, "sequential"]),
    "removed": (
        flow("local w = Workflow.sequential{name = 's$N', steps = {<s 1>}}"
             " return {Workflow.remove(w.id), (pcall(Workflow.get, w.id))}"), [True, False]),
    "callbacks": (
        flow("local seen = {} local w = Workflow.sequential{name = 't$N', steps = {<s 1>}, on_start ="
             " function() seen[#seen + 1] = 'start' end, on_complete = function()"
             " seen[#seen + 1] = 'end' end} w:execute() return seen"), ["start", "end"]),
})  # fmt: skip

# RAG ------------------------------------------------------------------------------------------------

DOCS = (
    "RAG.ingest({{content = 'Lua is a small language for embedding', id = 'lua'}, {content ="
    " 'Whales are large mammals of the sea', id = 'whale', metadata = {kind = 'animal'}}},"
    " {collection = 'c$N'}) "
)
runs("rag.search", {
    "the best first": (DOCS + "return RAG.search('mammals of the sea', {collection = 'c$N'})[1].id",
                       Like("whale.*")),
    "as array and record": (
        DOCS + "local r = RAG.search('language', {collection = 'c$N'})"
        " return {#r == #r.results, r[1].text == r.results[1].text, r.success, r.total == #r, r.query}",
        [True, True, True, True, "language"]),
    "pairs gives the items only": (
        DOCS + "local n = 0 for k in pairs(RAG.search('language', {collection = 'c$N'})) do"
        " if type(k) ~= 'number' then return k end end return 'numbers'", "numbers"),
    "k": (DOCS + "return #RAG.search('language', {collection = 'c$N', k = 1})", 1),
    "a filter": (
        DOCS + "local r = RAG.search('language', {collection = 'c$N', filters = {kind = 'animal'}})"
        " return {#r, r[1].metadata.kind}", [1, "animal"]),
    "the table form": (DOCS + "return #RAG.search{query = 'whales', collection = 'c$N'} > 0", True),
    "collections are apart": (DOCS + "return #RAG.search('whales', {collection = 'other$N'})", 0),
    "unicode": (
        "RAG.ingest('Grüße aus München', {collection = 'u$N'})"
        " return RAG.search('München', {collection = 'u$N'})[1].text", "Grüße aus München"),
})  # fmt: skip
runs("rag.ingest", {
    "the report": (
        "local r = RAG.ingest({content = 'some text', id = 'x'}, {collection = 'i$N'})"
        " return {r.success, r.documents_processed, r.vectors_created}", [True, 1, 1]),
    "a plain text": ("return RAG.ingest('text', {collection = 'j$N'}).documents_processed", 1),
    "the same id replaces": (
        "RAG.ingest({content = 'old words', id = 'x'}, {collection = 'k$N'})"
        " RAG.ingest({content = 'new words', id = 'x'}, {collection = 'k$N'})"
        " local r = RAG.search('words', {collection = 'k$N'}) return {#r, r[1].text}", [1, "new words"]),
    "many": ("return RAG.ingest_batch({{content = 'a'}, {content = 'b'}}, {collection = 'l$N'})"
             ".documents_processed", 2),
})  # fmt: skip

# One after the other ----------------------------------------------------------------------------------

runs("globals.first_touch", {
    "a service first": ("return Tool.exists('calculator') and State ~= nil", True),
    "printed before anything": ("print(type(RAG), type(Workflow))", Prints("table\ttable\n")),
})  # fmt: skip
