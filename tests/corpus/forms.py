# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""Call forms: two spellings, dot and colon, optional arguments, builders, handles.

The tables name methods by the words of their name; both spellings are made from them here, by the
rule of the contract, and not by the function that the engine uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import Prints, Raises, gives, refuses, runs

AGENT = "Agent.builder():name('g$N'):model('test/x'):build()"
FLOW = (
    "Workflow.sequential{name = 'g$N', steps = {{name = 's', tool = 'calculator',"
    " parameters = {input = '1'}}}}"
)


def spellings(words: str) -> tuple[str, str]:
    """``get info`` → ``get_info``, ``getInfo``."""
    first, *rest = words.split()
    return "_".join((first, *rest)), first + "".join(word[0].upper() + word[1:] for word in rest)


def statics(owner: str, table: dict[str, tuple[str, Any]], before: str = "") -> None:
    """Each method in four forms, all with the same value: ``(arguments, value)``."""
    for words, (arguments, value) in table.items():
        snake, camel = spellings(words)
        comma = ", " if arguments else ""
        calls = [
            f"{owner}.{snake}({arguments})",
            f"{owner}.{camel}({arguments})",
            f"{owner}:{snake}({arguments})",
            f"{owner}:{camel}({arguments})",
            f"{owner}.{camel}({owner}{comma}{arguments})",
        ]
        code = f"{before} return {{{', '.join(f'({call})' for call in calls)}}}"
        runs(f"calls.static.{owner}", {f"{owner}.{camel}": (code, [value] * len(calls))})


def exist(owner: str, methods: Iterable[str]) -> None:
    """Both spellings are functions."""
    for words in methods:
        snake, camel = spellings(words)
        runs(f"calls.static.{owner}", {
            f"{owner}.{camel} exists": (
                f"return {{type({owner}.{snake}), type({owner}.{camel})}}", ["function", "function"]),
        })  # fmt: skip


def instances(handle: str, requirement: str, methods: dict[str, tuple[str, str]]) -> None:
    """Each method of a handle in four forms: ``(arguments, expression over r)``.

    The expression must be true of what each form returns; `h` is the handle, a new one each time.
    """
    for words, (arguments, check) in methods.items():
        snake, camel = spellings(words)
        code = "local out, made = {}, 0 local function fresh() made = made + 1 return "
        code += handle.replace("$N", "$N' .. made .. '") + " end "
        for call in (f"h:{snake}", f"h:{camel}", f"h.{snake}", f"h.{camel}"):
            code += (
                f"do local h = fresh() local r = {call}({arguments}) out[#out + 1] = {check} end "
            )
        runs(requirement, {f"{requirement}: {camel}": (code + "return out", [True] * 4)})


statics("JSON", {
    "parse": ("'[1]'", [1]),
    "stringify": ("{1}", "[1]"),
    "encode": ("true", "true"),
    "decode": ("'2'", 2),
    "array": ("{1}", [1]),
})  # fmt: skip
statics("Utils", {
    "trim": ("' a '", "a"),
    "split": ("'a,b', ','", ["a", "b"]),
    "hash": ("'abc', 'md5'", "900150983cd24fb0d6963f7d28e17f72"),
    "base64 encode": ("'ab'", "YWI="),
    "base64 decode": ("'YWI='", "ab"),
    "deep copy": ("{1, {2}}", [1, [2]]),
})  # fmt: skip
exist("Utils", ("uuid", "timestamp", "now", "sleep", "env"))
statics("Debug", {
    "get level": ("", "INFO"),
    "set level": ("'bogus'", False),
    "is enabled": ("", True),
    "remove module filter": ("'none'", False),
    "dump": ("5", "5 (integer)"),
    "dump compact": ("{1}", "[1]"),
    "record event": ("'none', 'x'", False),
    "add advanced filter": ("'x', 'odd', true", False),
})  # fmt: skip
exist("Debug", (
    "log", "trace", "debug", "info", "warn", "error", "log with data", "timer", "set enabled",
    "add module filter", "clear module filters", "set default filter enabled", "get filter summary",
    "get captured entries", "clear captured", "dump verbose", "dump with options", "performance report",
    "json report", "flame graph", "memory stats", "memory snapshot", "stack trace", "stack trace json",
))  # fmt: skip
exist("Logger", ("trace", "debug", "info", "warn", "error", "log", "set level", "get level", "new",
                 "set correlation id"))  # fmt: skip
exist("Streaming", ("create", "yield"))
statics("State", {
    "get": ("'missing$N', 'default'", "default"),
    "set": ("'form$N', 1", True),
    "exists": ("'absent$N'", False),
    "get scope": ("", "global"),
    "workflow set": ("'w$N', 'step', 7", True),
    "list keys": ("'workflow:none$N'", []),
    "set scoped": ("'user:$N', 'k', {a = 1}", True),
    "compare and swap": ("'cas$N', 'other', 1", False),
})  # fmt: skip
exist("State", (
    "save", "load", "delete", "list", "keys", "all", "clear", "get scoped", "delete scoped",
    "clear scope", "list scoped", "list scopes", "set scope", "increment", "append", "workflow get",
    "workflow list", "agent get", "agent set", "tool get", "tool set",
))  # fmt: skip
statics("Tool", {
    "exists": ("'calculator'", True),
    "is available": ("'calculator'", True),
})  # fmt: skip
exist("Tool", (
    "list", "get", "create", "invoke", "execute", "execute async", "batch", "batch invoke", "parallel",
    "pipeline", "get metrics", "categories", "discover", "get info", "info", "get schema", "register",
    "unregister",
))  # fmt: skip
statics("Provider", {"is available": ("'test'", True)})
exist("Provider", ("list", "get", "get capabilities"))
statics("Config", {
    "get default engine": ("", "lua"),
    "list providers": ("", ["test"]),
    "is file access allowed": ("", False),
    "is network access allowed": ("", True),
    "is process spawn allowed": ("", False),
})  # fmt: skip
exist("Config", ("get", "get section", "get provider", "get security", "get tools", "get permissions",
                 "to json"))  # fmt: skip
exist("Agent", ("builder", "create", "create async", "list", "get", "discover", "list templates",
                "create from template", "register", "get info", "list instances"))  # fmt: skip
statics("Workflow", {"types": ("", ["sequential", "conditional", "loop", "parallel"])})
exist("Workflow", ("builder", "sequential", "conditional", "loop", "parallel", "create", "new",
                   "register", "list", "get", "remove", "clear", "discover types", "execute"))  # fmt: skip
exist("RAG", ("search", "ingest", "ingest batch"))

instances(AGENT, "calls.instance.agent", {
    "execute": ("'hi'", "r.text == 'Echo: hi'"),
    "invoke": ("'hi'", "r.success"),
    "get info": ("", "r.name == h.name"),
    "get config": ("", "r.model ~= nil"),
    "get state": ("", "type(r) == 'string'"),
    "reset": ("", "r == true"),
    "get history": ("", "#r == 0"),
    "destroy": ("", "r == true"),
    "get name": ("", "r == h.name"),
    "get id": ("", "r == h.id"),
    "discover tools": ("", "type(r) == 'table'"),
    "has tool": ("'nope'", "r == false"),
})  # fmt: skip
instances(FLOW, "calls.instance.workflow", {
    "execute": ("", "r.success"),
    "get info": ("", "r.name == h.name"),
    "get id": ("", "r == h.id"),
    "validate": ("", "r ~= nil"),
})  # fmt: skip
instances("Tool.get('calculator')", "calls.instance.tool", {
    "execute": ("{input = '2 + 2'}", "r.value == 4"),
    "invoke": ("{input = '2 + 2'}", "r.value == 4"),
    "get schema": ("", "r.name == 'calculator'"),
    "validate": ("{input = '1'}", "r == true"),
})  # fmt: skip
instances("Debug.timer('t$N')", "calls.instance.timer", {
    "stop": ("", "type(r) == 'number'"),
    "lap": ("'x'", "r == true"),
    "elapsed": ("", "r >= 0"),
})  # fmt: skip
instances("Logger.new('l$N')", "calls.instance.logger", {"info": ("'x', {a = 1}", "r == nil")})
instances("Streaming.create(function() Streaming.yield(1) Streaming.yield(2) end)",
          "calls.instance.stream", {
    "next": ("", "r == 1"),
    "is done": ("", "r == false"),
    "collect": ("", "#r == 2"),
    "map": ("tostring", "r:next() == '1'"),
    "filter": ("function(v) return v > 1 end", "r:next() == 2"),
    "take": ("1", "#r:collect() == 1"),
    "each": ("function() end", "r == nil"),
})  # fmt: skip

BUILDER = {
    "name": "'n$N'", "description": "'d'", "type": "'llm'", "model": "'test/x'", "provider": "'test'",
    "system prompt": "'s'", "temperature": "0.5", "max tokens": "10", "max conversation length": "5",
    "base url": "'http://127.0.0.1:1'", "api key": "'k'", "allow tool": "'calculator'",
    "tool": "'calculator'", "allowed tools": "{'calculator'}", "tools": "{}", "capability": "'c'",
    "memory enabled": "true", "context window": "1000", "max execution time": "10",
    "max memory mb": "10", "max tool calls": "5", "max recursion depth": "3",
    "resource limits": "{max_tool_calls = 2}", "custom config": "{a = 1}", "timeout": "1000",
    "top p": "0.9", "stop": "{'x'}",
}  # fmt: skip
for _words, _argument in BUILDER.items():
    _snake, _camel = spellings(_words)
    runs("calls.builder.agent", {
        f"builder.{_camel}": (
            f"local b = Agent.builder() return {{b:{_snake}({_argument}) == b,"
            f" b.{_camel}({_argument}) == b, b:{_camel}({_argument}) == b}}", [True, True, True]),
    })  # fmt: skip
STEP = "{name = 's', tool = 'calculator', parameters = {input = '1'}}"
for _words, _argument in {
    "sequential": "", "conditional": "", "loop": "", "parallel": "", "name": "'n$N'",
    "description": "'d'", "error strategy": "'continue'", "timeout ms": "1000", "timeout": "1000",
    "add step": STEP, "max retries": "2", "on error": "'skip'",
}.items():  # fmt: skip
    _snake, _camel = spellings(_words)
    runs("calls.builder.workflow", {
        f"builder.{_camel}": (
            f"local a, b = Workflow.builder(), Workflow.builder()"
            f" return {{a:{_snake}({_argument}) == a, b.{_camel}({_argument}) == b}}", [True, True]),
    })  # fmt: skip
runs("calls.builder.mutates", {
    "the result may be ignored": (
        "local b = Agent.builder() b:name('i$N') b:model('test/x') b.temperature(0.3)"
        " local a = b:build() return {a.name, a:get_config().temperature}", ["i$N", 0.3]),
    "or taken up again": (
        "local b = Agent.builder() b = b.name('j$N') b = b.model('test/x') return b.build().name",
        "j$N"),
    "in one chain": ("return Agent.builder():name('k$N'):model('test/x'):build():execute('x').text",
                     "Echo: x"),
    "a later call wins": (
        "return Agent.builder():name('first'):name('l$N'):model('test/x'):build().name", "l$N"),
    "a workflow": (
        f"local b = Workflow.builder() b:name('m$N') b:sequential() b:add_step({STEP})"
        " return b:build():execute().success", True),
    "result is the agent for those who look for it": (
        "local r = Agent.builder().name('o$N').model('test/x').build()"
        " return r.success and r.result:execute('x').text", "Echo: x"),
})  # fmt: skip

gives("calls.optional_arguments", {
    "JSON.stringify({1}, nil)": "[1]",
    "Utils.hash('abc', nil) == Utils.hash('abc', 'sha256')": True,
    "Utils.split('a,b', nil)": ["a", "b"],
    "State.get('none$N', nil)": None,
    "Tool.invoke('uuid_generator', nil).success": True,
    "Tool.invoke('uuid_generator').success": True,
    "Debug.dump(1, nil)": "1 (integer)",
    "#Tool.discover(nil) == #Tool.discover()": True,
    "#Tool.discover({}) == #Tool.list()": True,
    "Config.get(nil) ~= nil": True,
    "#Debug.getCapturedEntries(nil) == #Debug.getCapturedEntries()": True,
    "Tool.invoke('calculator', {input = '1'}, nil).value": 1,
    "Utils.trim('x', nil, nil)": "x",
    "Utils.trim('x', 'more than it takes')": "x",
})  # fmt: skip

gives("names.tools", {
    "Tool.get('uuid-generator').name == Tool.get('uuid_generator').name": True,
    "Tool.get('UUID_Generator').name == Tool.get('uuid_generator').name": True,
    "Tool.exists('Hash-Calculator')": True,
    "Tool['json-processor'] == Tool.json_processor": True,
    "Tool.invoke('CALCULATOR', {input = '1'}).value": 1,
    "Tool.get('file-operations').name == Tool.get('file_operations').name": True,
})  # fmt: skip

gives("handles.same_object", {
    "Tool.get('calculator') == Tool.get('calculator')": True,
    "Tool.calculator == Tool.get('calculator')": True,
    "Tools == Tool": True,
    "(function() local a = " + AGENT + " return Agent.get('g$N') == a end)()": True,
})  # fmt: skip
gives("handles.text", {
    "tostring(Tool.get('calculator'))": "Tool(calculator)",
    f"tostring({AGENT})": "Agent(g$N)",
    f"tostring({FLOW})": "Workflow(g$N)",
    "tostring(Debug.timer('t'))": "Timer(t)",
    "tostring(Logger.new('n'))": "Logger(n)",
    "'see ' .. Tool.get('calculator')": "see Tool(calculator)",
})  # fmt: skip
gives("handles.protected_metatable", {
    f"pcall(setmetatable, {AGENT}, {{}})": False,
    f"pcall(setmetatable, {FLOW}, {{}})": False,
    "pcall(setmetatable, Tool.get('calculator'), {})": False,
    "type(getmetatable(Tool.get('calculator'))) ~= 'table'": True,
    f"type(getmetatable({AGENT})) ~= 'table'": True,
    "type(getmetatable(Agent.builder())) ~= 'table'": True,
})  # fmt: skip
gives("results.tables", {
    f"type(({AGENT}):execute('x'))": "table",
    "type(Tool.invoke('calculator', {input = '1'}))": "table",
    f"type(({FLOW}):execute())": "table",
    "type(RAG.search('x', {collection = 'none$N'}))": "table",
    "type(Tool.list())": "table",
})  # fmt: skip
runs("results.text", {
    "of an agent": (f"return tostring(({AGENT}):execute('x'))", "Echo: x"),
    "joined": (f"return 'said: ' .. ({AGENT}):execute('x')", "said: Echo: x"),
    "of a tool": (
        "local r = Tool.invoke('hash_calculator', {operation = 'hash', input = 'x', algorithm = 'md5'})"
        " return tostring(r) == r.text", True),
    "of a tool that failed": (
        "local r = Tool.invoke('calculator', {input = '1 +'}) return tostring(r) == r.error", True),
    "of a workflow": (f"local r = ({FLOW}):execute() return tostring(r) == r.text", True),
    "of a workflow that failed": (
        "local r = Workflow.sequential{name = 'bad$N', steps = {{name = 's', tool = 'calculator',"
        " parameters = {input = '('}}}}:execute() return tostring(r) == r.error or"
        " tostring(r) == r.text", True),
    "printed": (f"print(({AGENT}):execute('x'))", Prints("Echo: x\n")),
    "as an argument": (f"return Utils.trim(({AGENT}):execute('x'))", "Echo: x"),
})  # fmt: skip
gives("table.concat.extended", {
    "table.concat(Provider.list(), ', ')": "test",
    "table.concat({Tool.get('calculator'), 'x'}, ' ')": "Tool(calculator) x",
    "table.concat({setmetatable({}, {__tostring = function() return 't' end}), 1}, '+')": "t+1",
    "table.concat({1, 2.5, 'a'}, ' ')": "1 2.5 a",
    "table.concat({'a', setmetatable({}, {__tostring = function() return 'b' end}), 'c'}, '', 2, 3)":
        "bc",
    "#table.concat(Tool.list(), ',') > 20": True,
})  # fmt: skip
refuses("table.concat.extended", {
    "table.concat({{}})": "invalid value",
    "table.concat({1, nil, 3}, ',', 1, 3)": "invalid value",
    "table.concat(5)": "table expected",
    "table.concat({print})": "invalid value",
})  # fmt: skip

GLOBALS = ("JSON", "Config", "Debug", "Logger", "Utils", "State", "Tool", "Provider", "Agent",
           "Workflow", "Streaming", "RAG", "ARGS")  # fmt: skip
for _name in GLOBALS:
    gives("globals.present", {f"type({_name})": "table"})
    runs("globals.are_tables", {
        f"{_name} is found among the globals": (
            f"for k, v in pairs(_G) do if k == '{_name}' then return type(v) end end", "table"),
    })  # fmt: skip
for _name in GLOBALS[:-1]:
    runs("globals.are_tables", {
        f"{_name} can be walked": (
            f"local n = 0 for k, v in pairs({_name}) do if type(v) == 'function' then n = n + 1 end end"
            " return n > 1", True),
    })  # fmt: skip
gives("globals.present", {"type(arg)": "table", "type(Tools)": "table"})
runs("globals.overwritten_by_name", {
    "a local of the same name": ("local Tool = 5 return Tool", 5),
    "a field added": ("Utils.mine = function() return 'mine' end local v = Utils.mine() Utils.mine = nil"
                      " return v", "mine"),
    "an unknown field is nil": ("return tostring(Utils.nothing) .. tostring(Agent.nothing)", "nilnil"),
    "calling one is an error of the script": ("Utils.nothing()", Raises("t.lua:1:", "nothing")),
})  # fmt: skip
