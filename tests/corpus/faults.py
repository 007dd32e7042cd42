# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""Errors: their texts, where they are raised and where they are returned."""

from . import LUA, Like, Prints, Raises, gives, refuses, runs

AGENT = "local a = Agent.builder():name('f$N'):model('test/x'):build() "
KEYLESS = "local a = Agent.builder():name('k$N'):model('openai/gpt-4o'):build() "
STEPS = "{{name = 's', tool = 'calculator', parameters = {input = '1+1'}}}"
FLOW = f"local w = Workflow.sequential{{name = 'w$N', steps = {STEPS}}} "
BROKEN = (
    "local w = Workflow.sequential{name = 'b$N', steps = {{name = 's', tool = 'calculator',"
    " parameters = {input = '1 +'}}}} "
)

gives("errors.plain_strings", {
    "type((select(2, pcall(Tool.invoke, 'nope', {}))))": "string",
    "type((select(2, pcall(JSON.parse, '{'))))": "string",
    "type((select(2, pcall(State.set))))": "string",
    "type((select(2, pcall(Workflow.get, 'nope'))))": "string",
    "type((select(2, pcall(function() error('x') end))))": "string",
    "('failed: ' .. select(2, pcall(JSON.parse, '{'))):match('^failed: ') ": "failed: ",
    "(select(2, pcall(JSON.parse, '{'))):match('JSON parse error') ": "JSON parse error",
    "tostring((select(2, pcall(JSON.parse, '{')))):find('JSON', 1, true) ~= nil": True,
})  # fmt: skip
runs("errors.position", {
    "of a misuse": ("local a = 1\nlocal x = JSON.parse('{')", Raises("t.lua:2: JSON parse error")),
    "of a failure that raises": ("\n\nlocal t = Tool.invoke('nope', {})\n",
                                 Raises("t.lua:3: ", "Tool 'nope' not found")),
    "in a function": ("local function f()\n  local x = Workflow.get('nope')\n  return x\nend\nf()",
                      Raises("t.lua:2: ")),
    "in a coroutine": ("local co = coroutine.wrap(function()\n local x = JSON.parse('') end)\nco()",
                       Raises("t.lua:2: JSON parse error")),
    "in a pcall": ("local ok, e = pcall(function()\n\nlocal x = JSON.parse('') end) return e",
                   Like(r"t\.lua:3: JSON parse error: .*")),
    "of a method": (AGENT + "\nlocal x = a:execute()", Raises("t.lua:2: Validation error")),
    "of an error of the script": ("local t = nil\nlocal x = t.y", Raises("t.lua:2: attempt to index")),
    "only where it is wanted": ("error('plain', 0)", Raises("plain")),
    "of the caller": ("local function f() error('up', 2) end\n\nf()", Raises("t.lua:3: up")),
})  # fmt: skip

runs("errors.position", {
    "as the value that a script returns": (
        "local a = 1\nreturn JSON.parse('{')", Raises("t.lua:2: JSON parse error")),
    "of a method, so": ("\nreturn Tool.get('calculator'):execute({})", Raises("t.lua:2: ")),
}, only=LUA)  # fmt: skip
refuses("errors.position", {
    "string.rep()": "t.lua:1: bad argument #1 to 'rep'",
    "('x'):rep({})": "t.lua:1: bad argument #",
    "('x'):rep(1e18)": "t.lua:1: resulting string too large",
    "table.insert()": "t.lua:1: bad argument #1 to 'insert'",
    "table.remove(5)": "t.lua:1: bad argument #1 to 'remove'",
    "setmetatable(1, {})": "t.lua:1: bad argument #1 to 'setmetatable'",
    "coroutine.wrap(5)": "t.lua:1: bad argument #1 to 'wrap'",
    "coroutine.resume(5)": "t.lua:1: bad argument #1 to 'resume'",
    "math.pow('x', 1)": "t.lua:1: bad argument #1 to 'pow'",
    "table.getn(5)": "t.lua:1: bad argument #1 to 'getn'",
    "table.concat({true})": "t.lua:1: invalid value",
    "collectgarbage('nothing')": "t.lua:1: bad argument #1 to 'collectgarbage'",
    "io.output(5)": "t.lua:1: bad argument #1 to 'output'",
    "io.open('x', 'y')": "t.lua:1: ",
    "require(nil)": "t.lua:1: bad argument #1 to 'require'",
    "('x'):gsub('%', '')": "t.lua:1: malformed pattern",
    "string.format('%d', 'x')": "t.lua:1: bad argument #2 to 'format'",
})  # fmt: skip
refuses("errors.prefix.component", {
    "Tool.invoke('no_such_tool', {})": ("Component error: ", "Tool 'no_such_tool' not found"),
    "Tool.create('no_such_tool')": ("Component error: ", "not found"),
    "Workflow.get('no_such')": "Workflow not found: no_such",
    "Agent.get_info('no_such')": "not found",
})  # fmt: skip
refuses("errors.prefix.configuration", {
    "Config.getSection('no_such')": ("Configuration error: ", "Unknown configuration section: no_such"),
    "Agent.builder():name('c$N'):model('nobody/x'):build()": ("Configuration error: ",
                                                            "Unsupported provider", "nobody"),
    "Agent.builder():name('c$N'):provider('nobody'):model('x'):build()": "Unsupported provider",
})  # fmt: skip
refuses("errors.prefix.validation", {
    "State.exists({})": ("Validation error: ", "must be a string"),
    "Utils.split('a', '')": "Validation error: ",
    "Agent.builder():temperature('hot')": "Validation error: ",
    "Agent.builder():temperature(5)": "Validation error: ",
    "Tool.invoke('calculator', 'no table')": "Validation error: ",
    "JSON.stringify({}, 'wide')": "Validation error: ",
})  # fmt: skip
runs("errors.prefix.provider", {
    "a missing key": (KEYLESS + "local r, e = a:execute('hi') return e",
                      Like("LLM provider error: .*API key.*")),
    "in the failure table": (KEYLESS + "return a:invoke('hi').error", Like("LLM provider error: .*")),
})  # fmt: skip
runs("errors.prefix.tool", {
    "a hard failure": (
        "Tool.get('file_operations'):execute{operation = 'read', path = '/tmp/no-such-$N'}",
        Raises("Tool", "file_operations")),
    "in the result": (
        "return Tool.invoke('file_operations', {operation = 'read', path = '/tmp/none-$N'}).error",
        Like("Tool execution failed: .*")),
})  # fmt: skip
runs("errors.prefix.script", {
    "out of the main chunk": ("error('mine')", Raises("Script execution error: t.lua:1: mine")),
    "out of a handler of a tool": (
        "Tool.register{name = 'raises$N', execute = function() error('inside') end}"
        " return Tool.invoke('raises$N', {}).error", Like(".*inside.*")),
})  # fmt: skip
refuses("errors.prefix.security", {
    "dofile('/etc/passwd')": ("Security violation: ", "Path not allowed", "not in allowlist"),
    "debug.sethook(print)": "Security violation: Permission denied",
    "setmetatable({}, {__gc = print})": "Security violation: Permission denied",
})  # fmt: skip
runs("errors.prefix.timeout", {
    "a promise that takes too long": (
        "Tool.register{name = 'late$N', execute = function() Utils.sleep(300) return 'late' end}"
        " local v, e = Tool.executeAsync('late$N', {}):await(10) return e",
        Like(r"Timeout error: .* timed out after 0\.01s")),
})  # fmt: skip

gives("errors.denied.file", {
    "(select(2, io.open('/etc/shadow')))": Like(
        "Permission denied: Path not allowed: /etc/shadow not in allowlist.*"),
    "(select(2, io.open('/etc/new', 'w')))": Like("Permission denied: Path not allowed: .*"),
    "(select(2, os.remove('/etc/hosts')))": Like("Permission denied: .*not in allowlist.*"),
    "(select(2, os.rename('/etc/hosts', '/tmp/h')))": Like("Permission denied: .*not in allowlist.*"),
    "(select(2, pcall(loadfile, '/etc/passwd')))": Like(".*Path not allowed: /etc/passwd.*"),
    "(select(2, pcall(io.lines, '/etc/passwd')))": Like(".*not in allowlist.*"),
    "Tool.invoke('file_operations', {operation = 'read', path = '/etc/shadow'}).error": Like(
        ".*Path not allowed: /etc/shadow not in allowlist.*"),
    "Tool.invoke('file_operations', {operation = 'write', path = '/etc/new', content = 'x'}).error":
        Like(".*Path not allowed.*not in allowlist.*"),
})  # fmt: skip
gives("errors.denied.process", {
    "{os.execute('true')}": [None, "Permission denied", 1],
    "(select(2, io.popen('true')))": Like("Permission denied.*"),
})  # fmt: skip

# Misuse raises, failures at run time return ------------------------------------------------------------

runs("raises.agent.execute", {
    "no argument": (AGENT + "a:execute()", Raises("Validation error: ")),
    "an empty text": (AGENT + "a:execute('')", Raises("Input text cannot be empty")),
    "an empty table": (AGENT + "a:execute({})", Raises("Input text cannot be empty")),
    "a destroyed agent": (AGENT + "a:destroy() a:execute('hi')", Raises("f$N")),
    "a function": (AGENT + "a:execute(print)", Raises("Validation error: ")),
})  # fmt: skip
runs("returns.agent.execute", {
    "nil and a text": (KEYLESS + "local r, e = a:execute('hi') return {r == nil, type(e)}",
                       [True, "string"]),
    "the usual test": (KEYLESS + "local r, e = a:execute('hi') if not r then return 'handled' end",
                       "handled"),
    "the text answers message": (KEYLESS + "local r, e = a:execute('hi') return e.message == e", True),
})  # fmt: skip
runs("returns.agent.invoke", {
    "a failure table": (
        KEYLESS + "local r = a:invoke('hi') return {r.success, type(r.error), r.text == nil}",
        [False, "string", True]),
    "and the text behind it": (KEYLESS + "local r, e = a:invoke('hi') return r.error == e", True),
    "a result when it works": (AGENT + "local r = a:invoke('hi') return {r.success, r.text, r.error == nil}",
                               [True, "Echo: hi", True]),
})  # fmt: skip
runs("raises.agent.invoke", {"no argument": (AGENT + "a:invoke()", Raises("Validation error: "))})
refuses("raises.tool.top_level", {
    "Tool.invoke('nonexistent_tool', {})": "Tool 'nonexistent_tool' not found",
    "Tool.execute('nonexistent_tool', {})": "Tool 'nonexistent_tool' not found",
    "Tool.invoke('calculator', 5)": "Validation error",
    "Tool.invoke('calculator', 'text')": "Validation error",
    "Tool.invoke()": "Missing required parameter",
    "Tool.invoke({}, {})": "Validation error",
})  # fmt: skip
runs("returns.tool.top_level", {
    "a missing parameter": (
        "local r = Tool.invoke('calculator', {}) return {r.success, type(r.error), r.text == nil}",
        [False, "string", True]),
    "its name is in the message": (
        "return Tool.invoke('calculator', {}).error:find('input', 1, true) ~= nil", True),
    "what failed leads the message": (
        "return Tool.invoke('file_operations', {operation = 'read', path = '/etc/passwd'}).error",
        Like("Tool execution failed: Security violation: .*")),
    "the message is the second value": (
        "local r, e = Tool.invoke('calculator', {input = '1 +'}) return r.error == e", True),
    "an unknown algorithm": (
        "local r = Tool.invoke('hash_calculator', {operation = 'hash', input = 'x', algorithm ="
        " 'md77'}) return {r.success, r.error ~= nil}", [False, True]),
    "a bad expression": ("return Tool.invoke('calculator', {input = '2 +'}).success", False),
    "a forbidden path": (
        "return Tool.invoke('file_operations', {operation = 'read', path = '/etc/shadow'}).success",
        False),
    "the test that scripts do": (
        "local r = Tool.invoke('calculator', {input = '('}) if r.success == false or r.error then"
        " return 'failed' end", "failed"),
    "execute is the same": ("return Tool.execute('calculator', {}).success", False),
})  # fmt: skip
runs("raises.tool.instance", {
    "a missing parameter": ("Tool.get('calculator'):execute({})",
                            Raises("Missing required parameter", "input")),
    "by invoke": ("Tool.get('calculator'):invoke({})", Raises("Missing required parameter")),
    "a forbidden path": (
        "Tool.get('file_operations'):execute{operation = 'read', path = '/etc/passwd'}",
        Raises("Tool 'file_operations' execution failed: ", "Path not allowed")),
    "a missing file": (
        "Tool.get('file_operations'):execute{operation = 'read', path = '/tmp/none-$N'}",
        Raises("execution failed")),
    "through an agent": (
        "local a = Agent.create{name = 'ti$N', model = 'test/x', tools = {'calculator'}}"
        " a:invokeTool('calculator', {})", Raises("Missing required parameter")),
})  # fmt: skip
runs("returns.tool.instance", {
    "an expression that cannot be evaluated": (
        "return Tool.get('calculator'):execute{input = '2 +'}.success", False),
    "an unsupported algorithm": (
        "return Tool.get('hash_calculator'):execute{operation = 'hash', input = 'x', algorithm ="
        " 'md77'}.success", False),
})  # fmt: skip
runs("returns.tool.async", {
    "an unknown tool": (
        "local r = Tool.executeAsync('nope', {}) return {r.success, r.error}",
        [False, Like("Tool not found: nope.*")]),
    "a failure": ("return Tool.executeAsync('calculator', {}).success", False),
    "in a batch": (
        "local r = Tool.batch({{tool = 'nope', params = {}}, {tool = 'calculator', params ="
        " {input = '1+1'}}}) return {r[1].success, r[1].error, r[2].success}",
        [False, Like("Tool not found: nope.*"), True]),
    "a failure in a batch": (
        "local r = Tool.batch({{tool = 'calculator', params = {}}}) return r[1].success", False),
})  # fmt: skip
runs("raises.workflow", {
    "an unknown step type": (
        "Workflow.sequential{name = 'u$N', steps = {{name = 's', type = 'magic'}}}",
        Raises("Unknown step type: magic")),
    "an agent that is nil": (
        "Workflow.sequential{name = 'u$N', steps = {{name = 's', type = 'agent', agent = nil}}}",
        Raises("Agent")),
    "an unknown condition": (
        "Workflow.builder():name('u$N'):conditional():condition({type = 'odd'})",
        Raises("Unknown condition type: odd")),
    "no branches": ("Workflow.parallel{name = 'u$N'}",
                    Raises("Parallel workflow requires either 'branches' or 'steps' field")),
    "no iterator": (f"Workflow.loop{{name = 'u$N', iterator = {{}}, body = {STEPS}}}",
                    Raises("Iterator must contain 'range', 'collection', or 'while_condition'")),
    "an unknown workflow": ("Workflow.execute('nope$N')", Raises("not found")),
})  # fmt: skip
runs("returns.workflow", {
    "a failed step": (
        BROKEN + "local r = w:execute() return {r.success, type(r.error), r.text:find('failed') ~= nil}",
        [False, "string", True]),
    "no raise under continue": (
        "local w = Workflow.sequential{name = 'c$N', error_strategy = 'continue', steps = {"
        "{name = 'a', tool = 'calculator', parameters = {input = '('}},"
        "{name = 'b', tool = 'calculator', parameters = {input = '2'}}}}"
        " return w:execute().steps_executed", 2),
    "a function that raises": (
        "local w = Workflow.sequential{name = 'r$N', steps = {{name = 's', type = 'custom',"
        " execute = function() error('in step') end}}} local r = w:execute()"
        " return {r.success, r.error:find('in step', 1, true) ~= nil}", [False, True]),
    "the failed step is named": (BROKEN + "return w:execute().failed_step", "s"),
    "success says so": (FLOW + "local r = w:execute()"
                        " return {r.success, r.text:find('completed successfully') ~= nil,"
                        " r.error == nil}", [True, True, True]),
})  # fmt: skip
refuses("raises.builders", {
    "Workflow.builder():name('b$N'):build()": "Workflow type not specified",
    "Workflow.sequential{steps = {}}": "name",
    "Workflow.loop{name = 'b$N', iterator = {range = {start = 1, ['end'] = 3, step = 0}}, body ="
    " {{name = 's', tool = 'calculator', parameters = {input = '1'}}}}": "Range step cannot be zero",
    "Workflow.loop{name = 'b$N', iterator = {range = {start = 1, ['end'] = 3}}}": "body",
})  # fmt: skip
runs("raises.builders", {
    "a duplicate name": (AGENT + "Agent.builder():name('f$N'):model('test/x'):build()",
                         Raises("Agent instance 'f$N' already exists")),
})  # fmt: skip
refuses("raises.state", {
    "State.set({}, 1)": "must be a string",
    "State.get({})": "must be a string",
    "State.delete({})": "must be a string",
    "State.save('global', {}, 1)": "must be a string",
    "State.save(nil, 'k', 1)": "Missing required parameter",
    "(function() State.set('text$N', 'x') State.increment('text$N') end)()": "increment",
})  # fmt: skip
refuses("raises.rag", {
    "RAG.search('x', {k = 0})": "k must be a positive integer",
    "RAG.search('x', {k = -1})": "k must be a positive integer",
    "RAG.search('x', {k = 'abc'})": "k must be a positive integer",
    "RAG.search('x', {k = 20000})": "k value too large",
    "RAG.search('x', {filters = 'no table'})": "filter",
    "RAG.ingest()": "Document requires 'content' or 'text' field",
    "RAG.ingest({{content = 'fine'}, {id = 'no text'}})": "Document requires 'content' or 'text' field",
})  # fmt: skip
runs("returns.rag.empty_store", {
    "a search where nothing is": (
        "local r = RAG.search('nothing', {collection = 'none_$N'}) return {#r, r.total, r.success}",
        [0, 0, True]),
})  # fmt: skip
refuses("raises.json", {
    "JSON.parse('{')": "JSON parse error",
    "JSON.parse('')": "JSON parse error",
    "JSON.parse('{\"a\": }')": "JSON parse error",
    "JSON.parse('[1,]')": "JSON parse error",
    "JSON.parse(\"{'a': 1}\")": "JSON parse error",
    "JSON.parse('NaN')": "JSON parse error",
    "JSON.parse('1 2')": "JSON parse error",
    "JSON.parse(nil)": "JSON parse error",
    "JSON.parse({})": "JSON parse error",
    "JSON.parse('\"\\\\ud800\"')": "JSON parse error",
    "JSON.decode('nope')": "JSON parse error",
})  # fmt: skip
gives("returns.nil_for_unknown", {
    "Provider.get('nobody')": None,
    "Provider.getCapabilities('nobody')": None,
    "Config.getProvider('nobody')": None,
    "Agent.get('nobody')": None,
    "Tool.get('nonexistent')": None,
    "Tool.get_info('nonexistent')": None,
    "Tool.get_schema('nonexistent')": None,
    "Tool.nonexistent": None,
    "Tool['no-such-tool']": None,
    "State.get('unknown$N')": None,
    "State.load('global', 'unknown$N')": None,
    "Config.get('no.such.path')": None,
    "Utils.env('NO_SUCH_VARIABLE_$N')": None,
    "os.getenv('NO_SUCH_VARIABLE_$N')": None,
    "ARGS.unknown": None,
})  # fmt: skip
runs("returns.nil_for_unknown", {
    "metadata of a tool an agent has not": (AGENT + "return a:get_tool_metadata('nope')", None),
})  # fmt: skip
gives("returns.false_for_unknown", {
    "Debug.removeModuleFilter('none$N')": False,
    "Debug.recordEvent('none', 'x')": False,
    "Debug.setLevel('bogus')": False,
    "Debug.addAdvancedFilter('x', 'odd', true)": False,
    "Debug.addAdvancedFilter('(', 'regex', true)": False,
    "Tool.exists('nope')": False,
    "State.exists('nope$N')": False,
    "State.delete('nope$N')": False,
    "Provider.isAvailable('nobody')": False,
})  # fmt: skip
refuses("raises.workflow_get", {"Workflow.get('nope')": "Workflow not found: nope"})

gives("errors.message_of_a_string", {
    "('failed').message": "failed",
    "(''):rep(0).message": "",
    "(select(2, pcall(JSON.parse, '{'))).message:find('JSON', 1, true) ~= nil": True,
    "('x').upper ~= nil and ('x'):upper()": "X",
    "('x').other": None,
    "(5 .. '').message": "5",
})  # fmt: skip
runs("errors.message_of_a_string", {
    "in a result": ("local r = Tool.invoke('calculator', {}) return r.error.message == r.error", True),
    "in a workflow's result": (BROKEN + "local r = w:execute() return r.error.message == r.error", True),
})  # fmt: skip

runs("errors.values", {
    "a table stays a table in pcall": (
        "local ok, e = pcall(error, {code = 7}) return {ok, e.code}", [False, 7]),
    "nil": ("local ok, e = pcall(error) return {ok, e == nil}", [False, True]),
    "rethrown": ("local ok, e = pcall(function() local ok, e = pcall(error, {n = 1}) error(e) end)"
                 " return e.n", 1),
    "a handler makes another": (
        "return {xpcall(function() error('x', 0) end, function(e) return e .. '!' end)}",
        [False, "x!"]),
    "a handler gets arguments' errors": (
        "return {xpcall(function(a, b) return a + b end, print, 1, 2)}", [True, 3]),
    "assert with a message": ("assert(false, 'told')", Raises("told")),
    "assert without": ("assert(nil)", Raises("assertion failed!")),
    "assert passes all on": ("return {assert(1, 2, 3)}", [1, 2, 3]),
    "as the end of a script": ("error({code = 1})", Raises("(error object is a table value)")),
    "with a text of its own": (
        "error(setmetatable({}, {__tostring = function() return 'told by itself' end}))",
        Raises("told by itself")),
})  # fmt: skip
runs("errors.values", {
    "a number": ("local ok, e = pcall(error, 5) return {type(e), e}", ["number", 5]),
}, only=LUA)  # fmt: skip
runs("errors.after_a_failure_the_state_lives", {
    "output before the error arrives": (
        "print('before') local ok = pcall(error, 'x') print('after', ok)",
        Prints("before\nafter\tfalse\n")),
})  # fmt: skip
runs("result.traceback", {
    "of nested functions": (
        "local function a() error('deep') end\nlocal function b() a() end\nlocal t ="
        " select(2, xpcall(b, debug.traceback))\nreturn t:find('stack traceback:', 1, true) ~= nil", True),
}, only=LUA)  # fmt: skip
