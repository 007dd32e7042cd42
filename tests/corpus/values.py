# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""Values across the border: what a Lua value is outside, and what comes back."""

from . import LUA, Raises, gives, refuses, runs

J = "JSON.stringify"

gives("convert.to_host.nil", {f"{J}(nil)": "null", f"{J}({{a = nil, b = 1}})": '{"b":1}'})
gives("convert.to_host.boolean", {f"{J}(true)": "true", f"{J}({{false}})": "[false]"})
gives("convert.to_host.integer", {f"{J}(-7)": "-7", f"{J}({{0}})": "[0]"})
gives("convert.to_host.integer", {
    f"{J}(math.maxinteger)": "9223372036854775807",
    f"{J}(math.mininteger)": "-9223372036854775808",
    f"{J}(1 << 62)": "4611686018427387904",
}, only=LUA)  # fmt: skip
gives(
    "convert.to_host.float", {f"{J}(1.5)": "1.5", f"{J}(-0.25)": "-0.25", f"{J}(1e300)": "1e+300"}
)
gives("convert.to_host.float", {
    f"{J}(2.0)": "2.0", f"{J}({{1, 1.0}})": "[1,1.0]", f"{J}(2^53)": "9007199254740992.0",
}, only=LUA)  # fmt: skip
gives("convert.to_host.not_finite", {
    f"{J}(0/0)": "null", f"{J}(1/0)": "null", f"{J}(-1/0)": "null",
    f"{J}({{x = 0/0, y = 1}})": '{"x":null,"y":1}', f"{J}({{1/0, 2}})": "[null,2]",
})  # fmt: skip
gives("convert.to_host.string", {
    f"{J}('é€😀')": '"é€😀"',
    f"{J}('a\\nb\\t\\\"\\\\')": '"a\\nb\\t\\"\\\\"',
    f"{J}('')": '""',
    f"{J}('a\\0b')": '"a\\u0000b"',
    f"{J}({{['é'] = 'ü'}})": '{"é":"ü"}',
    f"{J}('10')": '"10"',
})  # fmt: skip
refuses("convert.to_host.invalid_utf8", {
    f"{J}('\\xff')": "UTF-8",
    f"{J}({{a = {{'\\xc3'}}}})": "UTF-8",
    f"{J}({{['\\xff'] = 1}})": "UTF-8",
    f"{J}({{['\\xff'] = 1}}, true)": "UTF-8",
    "JSON.parse('\"\\xff\"')": "JSON parse error",
})  # fmt: skip
gives("convert.to_host.bytes_kept", {
    "Utils.base64_decode(Utils.base64_encode('\\0\\xff\\xfe\\n')) == '\\0\\xff\\xfe\\n'": True,
    "Utils.base64_encode('\\xff\\xfe')": "//4=",
    "Utils.hash('\\xff', 'md5')": "00594fd4f42ba43fc1ca0427a0576295",
    "Utils.trim(' \\xff ') == '\\xff'": True,
    "Utils.split('\\xff,\\0', ',')[2] == '\\0'": True,
    "#'é'": 2,
    "('é'):byte(1)": 0xC3,
    "Utils.deep_copy({'\\xff'})[1] == '\\xff'": True,
})  # fmt: skip
gives("convert.to_host.array", {
    f"{J}({{1, 2, 3}})": "[1,2,3]",
    f"{J}({{'a', {{'b'}}}})": '["a",["b"]]',
    f"{J}({{[1] = 'x', [2] = 'y'}})": '["x","y"]',
    f"{J}({{[2] = 'y', [1] = 'x'}})": '["x","y"]',
    f"{J}({{{{}}, {{}}}})": "[{},{}]",
})  # fmt: skip
gives("convert.to_host.array_drops_fields", {
    f"{J}({{1, 2, name = 'dropped'}})": "[1,2]",
    f"{J}({{'a', [10] = 'dropped', b = 1}})": '["a"]',
    f"{J}({{1, [1.5] = 'dropped'}})": "[1]",
    f"{J}({{1, [true] = 'dropped'}})": "[1]",
    f"{J}({{1, [-1] = 'dropped', [0] = 'dropped'}})": "[1]",
})  # fmt: skip
gives("convert.to_host.holes", {
    f"{J}({{1, nil, 3}})": "[1,null,3]",
    f"{J}({{nil, 2}})": "[null,2]",
    f"{J}({{'a', nil, nil, 'd'}})": '["a",null,null,"d"]',
    f"{J}({{{{1, nil, 2}}, nil, 3}})": "[[1,null,2],null,3]",
})  # fmt: skip
gives("convert.to_host.object", {
    f"{J}({{a = 1, b = {{c = 'd'}}}})": '{"a":1,"b":{"c":"d"}}',
    f"{J}({{['two words'] = true}})": '{"two words":true}',
    f"{J}({{[''] = 1}})": '{"":1}',
    f"{J}({{['1'] = 'text key'}})": '{"1":"text key"}',
})  # fmt: skip
gives("convert.to_host.number_keys", {
    f"{J}({{[2] = 'b'}})": '{"2":"b"}',
    f"{J}({{[0] = 'zero'}})": '{"0":"zero"}',
    f"{J}({{[-5] = 'x'}})": '{"-5":"x"}',
    f"{J}({{[1.5] = 'x'}})": '{"1.5":"x"}',
    f"{J}({{[100] = 1, a = 2}})": '{"100":1,"a":2}',
})  # fmt: skip
gives("convert.to_host.other_keys_skipped", {
    f"{J}({{[true] = 1, a = 2}})": '{"a":2}',
    f"{J}({{[{{}}] = 1, a = 2}})": '{"a":2}',
    f"{J}({{[print] = 1, a = 2}})": '{"a":2}',
    f"{J}({{[coroutine.create(print)] = 1, a = 2}})": '{"a":2}',
})  # fmt: skip
gives("convert.to_host.empty_table", {
    f"{J}({{}})": "{}",
    f"{J}({{a = {{}}}})": '{"a":{}}',
    f"{J}({{{{}}}})": "[{}]",
    f"{J}({{JSON.array()}})": "[[]]",
    f"{J}({{a = JSON.array({{}})}})": '{"a":[]}',
})  # fmt: skip
runs("convert.to_host.empty_array_by_schema", {
    "State.append": ("State.set('e$N', JSON.array()) return State.append('e$N', {})", 1),
    "allowed_tools": (
        "return Agent.create{name = 'e$N', model = 'test/x', allowed_tools = {}}"
        ":get_config().allowed_tools", []),
    "steps": ("return Workflow.sequential{name = 'e$N', steps = {}}.steps", []),
    "operations of a batch": ("return #Tool.batch({})", 0),
})  # fmt: skip
refuses("convert.to_host.unsupported", {
    f"{J}(print)": "Unsupported Lua type for JSON conversion",
    f"{J}({{f = function() end}})": "Unsupported Lua type for JSON conversion",
    f"{J}(coroutine.create(print))": "Unsupported Lua type for JSON conversion",
    f"{J}({{1, {{coroutine.create(print)}}}})": "Unsupported Lua type for JSON conversion",
    f"{J}(io.stdout)": "Unsupported Lua type for JSON conversion",
    "State.set('u$N', print)": "Unsupported Lua type",
    "State.set('u$N', {a = {print}})": "Unsupported Lua type",
    "State.save('global', 'u$N', coroutine.create(print))": "Unsupported Lua type",
})  # fmt: skip
runs("convert.to_host.debug_data", {
    "functions become null": (
        "Debug.clearCaptured() Debug.logWithData('info', 'm', {f = print, n = 1})"
        " local m = Debug.getCapturedEntries(1)[1].metadata return {m.n, m.f == nil}", [1, True]),
    "in a list": (
        "Debug.logWithData('info', 'm', {l = {print, 2}})"
        " return Debug.getCapturedEntries(1)[1].metadata.l[2]", 2),
})  # fmt: skip
runs("convert.result.placeholder", {
    "a function": ("return print", "<function>"),
    "a function in a table": ("return {f = print}", {"f": "<function>"}),
    "a coroutine": ("return coroutine.create(print)", "<thread>"),
    "a coroutine in a list": ("return {coroutine.create(print), 1}", ["<thread>", 1]),
})  # fmt: skip
runs("convert.to_host.tojson", {
    "a text": (f"return {J}(setmetatable({{}}, {{__tojson = function() return 'me' end}}))", '"me"'),
    "a table": (
        f"return {J}({{x = setmetatable({{}}, {{__tojson = function() return {{1, 2}} end}})}})",
        '{"x":[1,2]}'),
    "the table itself is given": (
        f"return {J}(setmetatable({{n = 5, secret = 1}}, {{__tojson = function(t) return {{n = t.n}}"
        " end}))", '{"n":5}'),
    "nil": (f"return {J}({{a = setmetatable({{}}, {{__tojson = function() end}}), b = 1}})",
            '{"a":null,"b":1}'),
    "one after the other": (
        f"local inner = setmetatable({{}}, {{__tojson = function() return 'deep' end}})"
        f" return {J}(setmetatable({{}}, {{__tojson = function() return inner end}}))", '"deep"'),
    "that raises": (
        f"return {J}(setmetatable({{}}, {{__tojson = function() error('no form', 0) end}}))",
        Raises("no form")),
    "in a result": ("return setmetatable({}, {__tojson = function() return {a = 1} end})", {"a": 1}),
    "in state": (
        "State.set('j$N', setmetatable({}, {__tojson = function() return {7} end}))"
        " return State.get('j$N')", [7]),
})  # fmt: skip
runs("convert.to_host.handles", {
    "an agent in a result": (
        "return Agent.builder():name('h$N'):model('test/x'):build()", "Agent(h$N)"),
    "a tool in a list": ("return {Tool.get('calculator')}", ["Tool(calculator)"]),
    "an agent in JSON": (
        f"return {J}({{who = Agent.builder():name('k$N'):model('test/x'):build()}})",
        '{"who":"k$N"}'),
    "a tool in JSON": (f"return {J}({{Tool.get('calculator')}})", '["calculator"]'),
    "a workflow in JSON": (
        f"return {J}(Workflow.sequential{{name = 'w$N', steps = {{{{name = 's', tool ="
        " 'calculator', parameters = {input = '1'}}}})", '"w$N"'),
    "a provider in JSON": (f"return JSON.parse({J}(Provider.get('test'))).name", "test"),
})  # fmt: skip
runs("convert.to_host.cycle", {
    "itself": ("local t = {} t.t = t return JSON.stringify(t)", Raises("Circular reference detected")),
    "by way of a list": (
        "local t = {} t[1] = {t} return JSON.stringify(t)", Raises("Circular reference detected")),
    "in state": ("local t = {} t.a = {b = t} State.set('c$N', t)",
                 Raises("Circular reference detected")),
    "in a result": ("local t = {} t.t = t return t", Raises("Circular reference detected")),
    "shared is no cycle": ("local s = {1} return JSON.stringify({s, s})", "[[1],[1]]"),
    "of a __tojson": (
        "local m = {} m.__tojson = function(t) return setmetatable({}, m) end"
        " return JSON.stringify(setmetatable({}, m))", Raises("Maximum nesting depth exceeded")),
})  # fmt: skip
runs("convert.to_host.depth", {
    "too deep a list": (
        "local t = {} for _ = 1, 200 do t = {t} end return JSON.stringify(t)",
        Raises("Maximum nesting depth exceeded")),
    "too deep an object": (
        "local t = {} for _ = 1, 200 do t = {a = t} end return JSON.stringify(t)",
        Raises("Maximum nesting depth exceeded")),
    "too deep for state": (
        "local t = {} for _ = 1, 200 do t = {t} end State.set('d$N', t)",
        Raises("Maximum nesting depth exceeded")),
    "a hundred is fine": (
        "local t = {} for _ = 1, 100 do t = {t} end return #JSON.stringify(t)", 202),
    "128 is fine": ("local t = {0} for _ = 1, 127 do t = {t} end return #JSON.stringify(t)", 257),
})  # fmt: skip
gives("convert.dump_prints_cycles", {
    "Debug.dump((function() local t = {} t.me = t return t end)()):find('circular') ~= nil": True,
})  # fmt: skip

gives("convert.result.array", {
    "{1, 2, 3}": [1, 2, 3],
    "{{1}, {2}}": [[1], [2]],
    "{'a', [2] = 'b'}": ["a", "b"],
})  # fmt: skip
gives("convert.result.object", {
    "{a = 1, b = {c = 2}}": {"a": 1, "b": {"c": 2}},
    "{1, 2, x = 3}": {"x": 3},
    "{[1] = 'a', [3] = 'c', x = 'kept'}": {"x": "kept"},
    "{[1.5] = 1, a = 2}": {"a": 2},
    "{[true] = 1, a = 2}": {"a": 2},
    "{}": {},
    "{a = {}}": {"a": {}},
})  # fmt: skip

P = "JSON.parse"
gives("convert.to_lua.null", {
    f"{P}('null')": None,
    f"{P}('{{\"a\": null}}').a": None,
    f"next({P}('{{\"a\": null}}'))": None,
    f"{P}('[1, null, 3]')[3]": 3,
    f"{P}('[1, null, 3]')[2]": None,
    f"#{P}('[1, null, 3]')": 3,
})  # fmt: skip
gives("convert.to_lua.boolean", {f"{P}('[true]')[1]": True, f"type({P}('false'))": "boolean"})
gives("convert.to_lua.string", {
    f"{P}('\"a\\\\u00e9\"')": "aé",
    f"#{P}('\"\\\\u20ac\"')": 3,
    f"{P}('\"\\\\ud83d\\\\ude00\"')": "😀",
    f"#{P}('\"\\\\u0000\"')": 1,
    f"{P}('\"\"')": "",
})  # fmt: skip
gives("convert.to_lua.integer", {
    f"math.type({P}('5'))": "integer",
    f"math.type({P}('-9223372036854775808'))": "integer",
    f"{P}('9223372036854775807')": 2**63 - 1,
}, only=LUA)  # fmt: skip
gives("convert.to_lua.float", {
    f"math.type({P}('5.0'))": "float",
    f"math.type({P}('1e2'))": "float",
    f"math.type({P}('9223372036854775808'))": "float",
    f"{P}('12345678901234567890')": 12345678901234567890.0,
}, only=LUA)  # fmt: skip
gives("convert.to_lua.float", {f"{P}('-0.5')": -0.5, f"{P}('1.25e2')": 125.0})
gives("convert.to_lua.array", {
    f"{P}('[10, 20]')[1]": 10,
    f"#{P}('[1, [2, 3], {{}}]')": 3,
    f"{P}('[[1], [2]]')[2][1]": 2,
    f"#{P}('[]')": 0,
    f"(function() local n = 0 for _ in ipairs({P}('[1,2,3]')) do n = n + 1 end return n end)()": 3,
    f"{J}({P}('[]'))": "[]",
})  # fmt: skip
gives("convert.to_lua.object", {
    f"{P}('{{\"a\": {{\"b\": [1]}}}}').a.b[1]": 1,
    f"type({P}('{{\"1\": 2}}')['1'])": "number",
    f"{P}('{{\"1\": 2}}')[1]": None,
    f"{J}({P}('{{}}'))": "{}",
    f"{P}('{{\"\": 5}}')['']": 5,
})  # fmt: skip
gives("convert.to_lua.bytes", {
    "#Utils.base64_decode('/wD+')": 3,
    "Utils.base64_decode('/wD+'):byte(1)": 255,
    "Utils.base64_decode('/wD+'):byte(2)": 0,
})  # fmt: skip
runs("convert.round_trip", {
    "nested": (
        f"local t = {{a = {{1, {{b = 'ü'}}, true}}, c = -1.5}} return {J}({P}({J}(t))) == {J}(t)", True),
    "in state": (
        "State.set('r$N', {list = {1, 2.5, 'x'}, deep = {a = {b = {c = true}}}})"
        " return State.get('r$N')",
        {"list": [1, 2.5, "x"], "deep": {"a": {"b": {"c": True}}}}),
    "unicode in state": ("State.set('s$N', 'é€😀\\0') return State.get('s$N')", "é€😀\0"),
    "unicode keys": (f"return {P}({J}({{['schlüssel'] = 'wért'}}))['schlüssel']", "wért"),
    "long text": (f"local s = ('ü'):rep(50000) return #{P}({J}(s)) == #s", True),
    "a big list": (
        f"local t = {{}} for i = 1, 20000 do t[i] = i end local back = {P}({J}(t))"
        " return {#back, back[1], back[20000]}", [20000, 1, 20000]),
})  # fmt: skip
runs("convert.round_trip", {
    "an integer stays one in state": (
        "State.set('i$N', 3) State.set('f$N', 3.0)"
        " return {math.type(State.get('i$N')), math.type(State.get('f$N'))}", ["integer", "float"]),
    "an integer stays one in JSON": (
        f"return {{math.type({P}({J}(3))), math.type({P}({J}(3.0)))}}", ["integer", "float"]),
}, only=LUA)  # fmt: skip

gives("convert.parameters.text_takes_numbers", {
    "Utils.trim(12)": "12",
    "Utils.hash(1)": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    "State.set(5, 'by number')": True,
    "Tool.exists(5)": False,
    "Utils.trim(1.5)": "1.5",
})  # fmt: skip
gives("convert.parameters.text_takes_numbers", {"Utils.trim(2.0)": "2.0"}, only=LUA)
runs("convert.parameters.number_takes_numeric_text", {
    "milliseconds": ("Utils.sleep('1') return 'slept'", "slept"),
    "an amount": ("return State.increment('n$N', 2) + 0", 2),
    "an integer option": ("return #Debug.getCapturedEntries('0')", 0),
    "text that is no number": ("Utils.sleep('soon')", Raises("Validation error: ", "number")),
})  # fmt: skip
refuses("convert.parameters.rag_wants_text", {
    "RAG.search(5)": "query",
    "RAG.search(nil)": "query",
    "RAG.search('  ')": "query",
    "RAG.ingest(5)": "Document requires 'content' or 'text' field",
    "RAG.ingest({content = 5})": "Document requires 'content' or 'text' field",
    "RAG.ingest({content = ''})": "Document requires 'content' or 'text' field",
})  # fmt: skip
