"""JSON, Debug, Logger, Utils, Streaming."""

import logging
import re

import pytest

from bridge_testkit import DOUBLES

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


# JSON --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("JSON.stringify({b = 1, a = {true, 2.5, 3, 'ü\\n\"'}})",
         '{"a":[true,2.5,3,"ü\\n\\""],"b":1}'),
        pytest.param("JSON.stringify({2.0, 3})", "[2.0,3]", marks=DOUBLES),
        ("JSON.stringify({1, 2}, 2)", "[\n  1,\n  2\n]"),
        ("JSON.stringify({a = 1}, true)", '{\n  "a": 1\n}'),
        ("JSON.stringify({1}, false)", "[1]"),
        ("JSON.encode('x')", '"x"'),
        ("JSON.stringify(nil)", "null"),
        ("JSON.stringify(1/0)", "null"),
        pytest.param("JSON.stringify(2^53)", "9007199254740992.0", marks=DOUBLES),
        ("JSON.stringify({JSON.null, JSON.array(), {}})", "[null,[],{}]"),
        ("JSON:stringify(JSON.array({1}))", "[1]"),
        ("tostring(JSON.null)", "null"),
        ("JSON.stringify({who = Probe.counter('k')})", '{"who":"k"}'),
    ],
)  # fmt: skip
def test_stringify(world, expression, text):
    assert world.run(f"return {expression}") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.0, null, true], "b": {}}', {"a": [1, 2.0, None, True], "b": {}}),
        ("5", 5),
        ('"x"', "x"),
        ("null", None),
        ("[]", []),
        ("12345678901234567890", 12345678901234567890.0),
        ('"\\u00fc\\ud83d\\ude00"', "ü😀"),
    ],
)
def test_parse(world, text, value):
    found = world.run("return JSON.parse(ARGS[1])", arguments=_arguments(text))
    assert found == value
    assert world.run("return JSON.decode(ARGS[1])", arguments=_arguments(text)) == value


def _arguments(text):
    from llmspell_core import ScriptArguments

    return ScriptArguments("t.lua", (text,))


@pytest.mark.parametrize("bad", ["{", "", "nope", "[1,]", "NaN", "{'a': 1}", "[" * 100000])
def test_bad_json_raises(world, bad):
    ok, message = world.run(
        "return {pcall(function() local r = JSON.parse(ARGS[1]) return r end)}",
        arguments=_arguments(bad),
    )
    assert ok is False
    assert message.startswith("t.lua:1: JSON parse error: ")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("('['):rep(100000)", "Maximum nesting depth exceeded"),
        ("'[' .. ('9'):rep(5000) .. ']'", "an integer has more than 4300 digits"),
    ],
)
def test_bad_json_is_told_in_words_of_json(world, bad, why):
    assert world.message(f"JSON.parse({bad})") == f"t.lua:1: JSON parse error: {why}"


def test_json_misuse_raises(world):
    assert "JSON parse error: a string is needed" in world.message("JSON.parse({})")
    assert "JSON parse error" in world.message("JSON.parse(nil)")
    assert "JSON parse error" in world.message("JSON.parse('\\xff')")
    assert "half of a character" in world.message("JSON.parse('\"\\\\ud800\"')")
    assert "not UTF-8" in world.message("JSON.stringify('\\xff')")
    assert "not UTF-8" in world.message("JSON.stringify({['\\xff'] = 1})")
    assert "Unsupported Lua type" in world.message("JSON.stringify({f = print})")
    assert "indent must be" in world.message("JSON.stringify({}, 'x')")
    assert "indent must be" in world.message("JSON.stringify({}, -1)")
    assert "Circular" in world.message("(function() local t = {} t.t = t JSON.stringify(t) end)()")


# Debug -------------------------------------------------------------------------------------------


def test_messages_are_captured_by_level_and_module(world, caplog):
    caplog.set_level(logging.DEBUG, logger="llmspell.script")
    entries = world.run(
        "Debug.setLevel('DEBUG') Debug.info('one') Debug.warn('two', 'net.http') Debug.trace('no')"
        " Debug.log('error', {a = 1}) Debug.log('bogus', 'x') Debug.debug(nil) Debug.error(true)"
        " Debug.logWithData('info', 'data', {n = 1, f = print, list = {1}}) Debug.info(print)"
        " return Debug.getCapturedEntries()"
    )
    assert [(e["level"], e["message"], e["module"]) for e in entries[:-1]] == [
        ("info", "one", "script"),
        ("warn", "two", "net.http"),
        ("error", '{"a": 1}', "script"),
        ("debug", "nil", "script"),
        ("error", "true", "script"),
        ("info", "data", "script"),
    ]
    assert entries[-1]["message"].startswith("function: ")
    assert entries[5]["metadata"] == {"n": 1, "list": [1]}
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["timestamp"]) for e in entries
    )
    assert ("llmspell.script.net.http", logging.WARNING, "two") in caplog.record_tuples
    assert world.run("return #Debug.getCapturedEntries(2)") == 2
    assert world.run(
        "return {Debug.getCapturedEntries(1)[1].message:sub(1, 4), #Debug.getCapturedEntries(0)}"
    ) == ["func", 0]
    assert world.run("Debug.clearCaptured() return #Debug.get_captured_entries()") == 0


def test_levels_and_the_switch(world):
    assert world.run(
        "local out = {Debug.getLevel(), Debug.setLevel('bogus'), Debug.setLevel(5),"
        " Debug.setLevel('Warn'), Debug.getLevel(), Debug.isEnabled()}"
        " Debug.info('dropped') Debug.setEnabled(false) Debug.error('dropped')"
        " out[#out + 1] = Debug.isEnabled() Debug.setEnabled(true) Debug.setLevel('off')"
        " Debug.error('dropped') out[#out + 1] = #Debug.getCapturedEntries() return out"
    ) == ["INFO", False, False, True, "WARN", True, False, 0]


def test_module_filters(world):
    assert world.run(
        "Debug.addModuleFilter('noisy.*', false)"
        " Debug.info('no', 'noisy.one') Debug.info('yes', 'quiet')"
        " Debug.addModuleFilter('noisy.two', true) Debug.info('yes', 'noisy.two')"
        " Debug.setDefaultFilterEnabled(false) Debug.info('no', 'other')"
        " Debug.addAdvancedFilter('^db', 'regex', true) Debug.info('yes', 'db.pool')"
        " Debug.addAdvancedFilter('app', 'hierarchical', true) Debug.info('yes', 'app.x')"
        " Debug.info('no', 'apple') Debug.addAdvancedFilter('one', 'exact', true)"
        " Debug.info('yes', 'one')"
        " local out = {} for i, e in ipairs(Debug.getCapturedEntries()) do out[i] = e.module end"
        " return out"
    ) == ["quiet", "noisy.two", "db.pool", "app.x", "one"]
    assert world.run(
        "return {Debug.addAdvancedFilter('(', 'regex', true), Debug.addAdvancedFilter('x', 'odd'),"
        " Debug.removeModuleFilter('one'), Debug.removeModuleFilter('one'),"
        " Debug.getFilterSummary().total_rules, Debug.getFilterSummary().default_enabled,"
        " Debug.getFilterSummary().rules[1].pattern_type}"
    ) == [False, False, True, False, 4, False, "wildcard"]
    assert world.run("Debug.clearModuleFilters() return Debug.getFilterSummary().rules") == []


def test_the_log_keeps_a_thousand_entries(world):
    assert world.run(
        "for i = 1, 1200 do Debug.info(i) end local e = Debug.getCapturedEntries()"
        " return {#e, e[1].message, e[#e].message}"
    ) == [1000, "201", "1200"]


def test_timers(world):
    found = world.run(
        "local t = Debug.timer('work') Utils.sleep(5) local lap = t:lap('half')"
        " local before = t:elapsed() local recorded = Debug.recordEvent(t.id, 'ev', {x = 1})"
        " local ms = t:stop()"
        " return {lap, before >= 4, recorded, ms >= before, tostring(t:stop()), t:lap('late'),"
        " tostring(t:elapsed()), Debug.recordEvent('none', 'x'), tostring(t)}"
    )
    assert found == [True, True, True, True, "nil", False, "nil", False, "Timer(work)"]
    text, report, flame = world.run(
        "return {Debug.performanceReport(), JSON.parse(Debug.jsonReport()), Debug.flameGraph()}"
    )
    assert text.startswith("Performance report:\n  work: ")
    assert "lap half:" in text
    assert "event ev:" in text
    assert report["timers"][0]["laps"][0]["name"] == "half"
    assert report["timers"][0]["events"][0]["metadata"] == {"x": 1}
    assert re.fullmatch(r"script;work;half \d+\nscript;work \d+", flame)


def test_memory_is_measured(world):
    first, second, snapshot = world.run(
        "collectgarbage() local a = Debug.memoryStats() local t = Debug.timer('m')"
        " kept = ('x'):rep(3000000) return {a, Debug.memoryStats(), Debug.memorySnapshot()}"
    )
    assert 2_900_000 < second["used_bytes"] - first["used_bytes"] < 8_000_000
    assert first["allocated_bytes"] == 50_000_000
    assert first["resident_bytes"] > 5_000_000
    assert snapshot["active_trackers"] == 1
    assert snapshot["tracker_memory_usage"]["m"]["delta_bytes"] > 2_900_000
    assert snapshot["total_memory_delta_bytes"] > 2_900_000


def test_an_unused_report_says_so(world):
    assert world.run("return Debug.performanceReport()") == "Performance report:\n  no timers"


DUMPS = {
    "nil": "nil (nil)",
    "true": "true (boolean)",
    "5": "5 (integer)",
    "1.5": "1.5 (number)",
    "'s'": '"s" (string, 1 chars)',
    "print": "<function>",
    "JSON.null": "null",
    "{}": "{ (table, 0 pairs) }",
    "{1, 'a'}": '[ (array, 2 elements)\n  1 (integer)\n  "a" (string, 1 chars)\n]',
    "{b = 1, a = {2}}": "{ (table, 2 pairs)\n  a = [ (array, 1 elements)\n    2 (integer)\n  ]\n"
    "  b = 1 (integer)\n}",
    "{[true] = 1}": "{ (table, 1 pairs)\n  [true] = 1 (integer)\n}",
    "(function() local t = {} t.me = t return t end)()": "{ (table, 1 pairs)\n"
    "  me = <circular reference to depth 0>\n}",
}


@pytest.mark.parametrize(("expression", "text"), DUMPS.items())
def test_dump(world, expression, text):
    assert world.run(f"return Debug.dump({expression})") == text


def test_dump_cuts_and_labels(world):
    assert world.run("return Debug.dump(1, 'lab')") == "lab:\n1 (integer)"
    assert world.run("return Debug:dump(1)") == "1 (integer)"
    assert world.run("return Debug.dumpCompact({a = {b = {c = {d = 1}}}, l = {1, 2}}, 'x')") == (
        "x: {a = {b = {c = ...}}, l = [1, 2]}"
    )
    assert world.run("return Debug.dump_compact(('x'):rep(60))") == '"' + "x" * 50 + '..."'
    long = world.run("local t = {} for i = 1, 60 do t[i] = i end return Debug.dump(t)")
    assert long.endswith("50 (integer)\n  ... (10 more)\n]")
    wide = world.run("local t = {} for i = 1, 60 do t['k' .. i] = i end return Debug.dump(t)")
    assert wide.endswith("... (10 more)\n}")
    assert (
        world.run(
            "return Debug.dumpWithOptions({a = {1}}, {show_types = false, indent_size = 1}, 'l')"
        )
        == "l:\n{\n a = [\n  1\n ]\n}"
    )
    assert re.match(
        r"\{ \(table, 1 pairs\) @ 0x[0-9a-f]+\n    f = <function: 0x[0-9a-f]+>",
        world.run("return Debug.dumpVerbose({f = function() end})"),
    )
    assert "Counter(c)" in world.run("return Debug.dump({Probe.counter()})")


def test_stack_traces(world):
    text = world.run(
        "local function inner(a) local b = 'loc' return (Debug.stackTrace('trace')) end\n"
        "local function outer() return (inner(5)) end\nreturn (outer())"
    )
    assert text.splitlines()[0] == "Stack trace:"
    assert "1: inner at t.lua:1" in text
    assert "a = 5" in text
    assert 'b = "loc"' in text
    assert "2: outer at t.lua:2" in text
    assert "main chunk at t.lua:3" in text
    found = world.run("return JSON.parse(Debug.stackTraceJson({max_depth = 1, x = 1}))")
    assert found["max_depth"] == 1
    assert found["frames"][0]["source"] == "t.lua"
    assert found["frames"][0]["line"] == 1
    assert (
        "at" not in world.run("return (Debug.stackTrace({include_source = false}))").split("1:")[1]
    )


# Logger ------------------------------------------------------------------------------------------


def test_the_logger_writes_into_the_same_log(world):
    entries = world.run(
        "Logger.set_level('trace') Logger.trace('t') Logger.info('i', {n = 1})"
        " Logger.log('warn', 5)"
        " local net = Logger.new('net') net:error('e') net.debug({1})"
        " Logger.set_correlation_id('c-1') Logger.warn('w', {n = 2}) net:info('x')"
        " Logger.setCorrelationId(nil) Logger.debug(nil)"
        " return Debug.getCapturedEntries()"
    )
    assert [(e["level"], e["message"], e["module"], e.get("metadata")) for e in entries] == [
        ("trace", "t", "script", None),
        ("info", "i", "script", {"n": 1}),
        ("warn", "5", "script", None),
        ("error", "e", "net", None),
        ("debug", "[1]", "net", None),
        ("warn", "w", "script", {"n": 2, "correlation_id": "c-1"}),
        ("info", "x", "net", {"correlation_id": "c-1"}),
        ("debug", "nil", "script", None),
    ]
    assert world.run("return {Logger.get_level(), tostring(Logger.new('n'))}") == [
        "trace",
        "Logger(n)",
    ]
    assert "unknown log level 'odd'" in world.message("Logger.set_level('odd')")


def test_the_logger_writes_what_is_not_text_as_lua_would(world):
    entries = world.run(
        "Logger.info('a\\xff') Logger.info({'b\\xff'}) Logger.info(nil) Logger.info(true)"
        " return Debug.getCapturedEntries()"
    )
    assert [entry["message"] for entry in entries] == ["a\ufffd", '["b\ufffd"]', "nil", "true"]


# Utils -------------------------------------------------------------------------------------------


def test_utils(world):
    assert UUID.fullmatch(world.run("return Utils.uuid()"))
    assert world.run("return math.abs(Utils.timestamp() - os.time()) < 2") is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", world.run("return Utils.now()"))
    assert world.run(
        "return {Utils.hash('abc'):sub(1, 8), Utils.hash('abc', 'MD5'),"
        " Utils.hash('\\xff', 'sha-1'),"
        " Utils.base64_encode('\\xff\\0'), Utils.base64_decode('YWI='), Utils.base64Decode('YWI='),"
        " #Utils.base64_decode('/wA='), Utils.trim('  a b '), Utils.split('a,,b', ','),"
        " Utils.split('a'), tostring(Utils.env('NOPE_NOPE'))}"
    ) == [
        "ba7816bf", "900150983cd24fb0d6963f7d28e17f72", "85e53271e14006f0265921d02d4d736cdc580b0b",
        "/wA=", "ab", "ab", 2, "a b", ["a", "", "b"], ["a"], "nil",
    ]  # fmt: skip
    assert "Unsupported algorithm: zz" in world.message("Utils.hash('a', 'zz')")
    assert "not Base64" in world.message("Utils.base64_decode('!!!')")
    assert "separator must not be empty" in world.message("Utils.split('a', '')")
    for bad in ("-1", "1/0", "0/0"):
        assert "milliseconds must not be negative" in world.message(f"Utils.sleep({bad})")


def test_deep_copy_keeps_shape_sharing_and_metatables(world):
    assert world.run(
        "local shared = {1} local m = {__index = {x = 5}}"
        " local t = setmetatable({a = shared, b = shared, [shared] = true}, m) t.me = t"
        " local c = Utils.deep_copy(t)"
        " local h = Probe.counter() local l = Utils.deepCopy({h, JSON.null})"
        " return {c ~= t, c.a == c.b, c.a ~= shared, c.me == c, c.x, c[c.a], l[1] == h,"
        " l[2] == JSON.null, Utils.deep_copy(5)}"
    ) == [True, True, True, True, 5, True, True, True, 5]


# Streaming ---------------------------------------------------------------------------------------


def test_a_generator_is_a_stream(world):
    assert world.run(
        "local s = Streaming.create(function() for i = 1, 3 do Streaming.yield(i) end return 9 end)"
        " return {s:isDone(), s:next(), s.next(), s:collect(), s:is_done(), tostring(s:next()),"
        " s._done, type(s._coroutine), tostring(s), #s:collect()}"
    ) == [False, 1, 2, [3, 9], True, "nil", True, "thread", "Stream", 0]


def test_streams_can_be_mapped_filtered_taken_and_walked(world):
    numbers = (
        "local function numbers(n) return Streaming.create(function()"
        " for i = 1, n do coroutine.yield(i) end end) end "
    )
    assert world.run(
        numbers + "local out = {} numbers(3):each(function(v) out[#out + 1] = v end)"
        " return {numbers(5):map(function(v) return v * 2 end):collect(),"
        " numbers(5):filter(function(v) return v % 2 == 1 end):collect(),"
        " numbers(5):take(2):collect(), numbers(5):collect(2), out,"
        " numbers(9):filter(function(v) return v > 3 end):map(tostring):take(2):collect()}"
    ) == [[2, 4, 6, 8, 10], [1, 3, 5], [1, 2], [1, 2], [1, 2, 3], ["4", "5"]]


def test_a_stream_is_read_as_it_is_made(world):
    world.run(
        "local s = Streaming.create(function() for i = 1, 3 do print('make', i)"
        " Streaming.yield(Probe.wait(0.001, i)) end end)"
        " for i = 1, 2 do print('got', s:next()) end"
    )
    assert world.out == "make\t1\ngot\t1\nmake\t2\ngot\t2\n"


def test_a_generator_that_fails_raises_where_it_is_read(world):
    assert world.run(
        "local s = Streaming.create(function() Streaming.yield(1) error('gen') end)"
        " return {s:next(), (select(2, pcall(s.next, s))), s:isDone(), tostring(s:next())}"
    ) == [1, "t.lua:1: gen", True, "nil"]


def test_a_pushable_stream(world):
    assert world.run(
        "local s = Streaming.create() s:push(1) s.push(2) local first = {s:next(), s:next(),"
        " tostring(s:next()), s:isDone(), s:push(nil)} s:push(3) s:close()"
        " return {first, s:isDone(), s:collect(), s:isDone(), (pcall(s.push, s, 4))}"
    ) == [[1, 2, "nil", False, False], False, [3], True, False]


def test_streaming_misuse_raises(world):
    assert "takes a generator function, got number" in world.message("Streaming.create(5)")
    assert "Streaming.yield is for generators" in world.message("Streaming.yield(1)")
    assert "makes a stream to push to" in world.message("Streaming.create(function() end):push(1)")
    assert world.run(
        "local s = Streaming.create(function() Streaming.yield(1) end) s:close()"
        " return {s:isDone(), tostring(s:next())}"
    ) == [True, "nil"]
