"""``require("llmspell.test")``: declaring tests, running them, telling what failed."""

import asyncio
import re

import pytest

from bridge_testkit import World
from llmspell_core import (
    SCRIPT_TESTS,
    CancelSignal,
    Effect,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    Recording,
    Replaying,
    RunLedger,
    ScriptTest,
    ScriptTests,
    Source,
)

HEAD = "local T = require('llmspell.test') "
TIMES = re.compile(r"\d+\.\d ms")


def outcome(world, text, **more):
    """The results of ``run_all()`` behind the text, without times."""
    found = world.run(f"{HEAD}{text} return T.run_all()", **more)
    assert found.pop("duration_ms") >= 0
    for result in found["results"]:
        assert result.pop("duration_ms") >= 0
    return found


def error_of(world, body):
    """What a test with that body fails with."""
    made = outcome(world, f"T.reset() T.it('x', function() {body} end)")
    (result,) = made["results"]
    assert result["status"] == "failed", result
    return result["error"]


def passes(world, body):
    made = outcome(world, f"T.reset() T.it('x', function() {body} end)")
    assert made["success"] is True, made


# -- declaring and running --------------------------------------------------------------------


@pytest.mark.requirement("testing.run_all", "testing.groups", "testing.skip")
def test_the_result_counts_and_names_every_test(world):
    made = outcome(
        world,
        """
        T.describe('outer', function()
          T.it('works', function() end)
          T.describe('inner', function()
            T.test('fails', function() error('no luck') end)
            T.skip('waits')
          end)
        end)
        T.skip('also waits', function() error('never called') end)
        """,
    )
    assert made == {
        "total": 4,
        "passed": 1,
        "failed": 1,
        "skipped": 2,
        "success": False,
        "results": [
            {"name": "outer > works", "status": "passed", "place": "t.lua:3"},
            {
                "name": "outer > inner > fails",
                "status": "failed",
                "error": "t.lua:5: no luck",
                "place": "t.lua:5",
            },
            {"name": "outer > inner > waits", "status": "skipped", "place": "t.lua:6"},
            {"name": "also waits", "status": "skipped", "place": "t.lua:9"},
        ],
    }


@pytest.mark.requirement("testing.summary")
def test_a_summary_and_the_failures_are_printed_and_verbose_names_all(world):
    tests = (
        "T.it('good', function() end)\n"
        "T.it('bad', function() T.expect(1):to_equal(2) end)\n"
        "T.skip('later')\n"
    )
    world.run(f"{HEAD}{tests} T.run_all()")
    brief = TIMES.sub("N ms", world.out)
    assert brief == (
        "✗ bad (N ms)\n"
        "    t.lua:2: expected values to be equal\n"
        "      expected: 2\n"
        "      actual:   1\n"
        "3 tests: 1 passed, 1 failed, 1 skipped (N ms)\n"
    )
    world.written.clear()
    world.run(f"{HEAD} T.run_all{{verbose = true}}")
    assert TIMES.sub("N ms", world.out).startswith("✓ good (N ms)\n✗ bad (N ms)\n")
    assert "- later\n" in world.out


@pytest.mark.requirement("testing.exit_code")
def test_a_failure_makes_the_program_exit_with_1(world):
    def exit_code(text):
        return world.submit(HEAD + text).result(30).exit_code

    assert exit_code("T.it('a', function() end) T.run_all()") is None
    assert exit_code("T.it('b', function() error('x') end) T.run_all() print('goes on')") == 1
    assert world.out.endswith("goes on\n")
    assert exit_code("T.run_all() os.exit(7)") == 7
    # The next execution of the state begins anew.
    assert exit_code("T.reset()") is None


@pytest.mark.requirement("testing.hooks")
def test_hooks_run_around_the_tests_of_their_group_only(world):
    made = world.run(
        HEAD
        + """
        local log = {}
        local function note(word) return function() log[#log + 1] = word end end
        T.before_all(note('A')) T.after_all(note('Z'))
        T.before_each(note('a')) T.after_each(note('z'))
        T.it('1', note('1'))
        T.describe('inner', function()
          T.beforeAll(note('B')) T.afterAll(note('Y'))
          T.beforeEach(note('b')) T.afterEach(note('y'))
          T.it('2', note('2'))
          T.it('3', note('3'))
        end)
        T.describe('nothing to run', function()
          T.before_all(note('never'))
          T.skip('4')
        end)
        T.it('5', note('5'))
        T.run_all()
        return table.concat(log)
        """
    )
    assert made == "Aa1z" + "B" + "ab2yz" + "ab3yz" + "Y" + "a5z" + "Z"


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (
            "before_each",
            [
                ("g > one", "failed", "before_each failed: t.lua:1: oh"),
                ("g > two", "failed", "before_each failed: t.lua:1: oh"),
                ("after", "passed", None),
            ],
        ),
        (
            "after_each",
            [
                ("g > one", "failed", "after_each failed: t.lua:1: oh"),
                ("g > two", "failed", "t.lua:1: first"),
                ("after", "passed", None),
            ],
        ),
        (
            "before_all",
            [
                ("g > one", "failed", "before_all failed: t.lua:1: oh"),
                ("g > two", "failed", "before_all failed: t.lua:1: oh"),
                ("after", "passed", None),
            ],
        ),
        (
            "after_all",
            [
                ("g > one", "passed", None),
                ("g > two", "failed", "t.lua:1: first"),
                ("g > after_all", "failed", "after_all failed: t.lua:1: oh"),
                ("after", "passed", None),
            ],
        ),
    ],
)
def test_a_hook_that_fails_is_told_and_the_others_go_on(world, hook, expected):
    made = outcome(
        world,
        f"T.describe('g', function() T.{hook}(function() error('oh') end)"
        " T.it('one', function() end) T.it('two', function() error('first') end) end)"
        " T.it('after', function() end)",
    )
    assert [(r["name"], r["status"], r.get("error")) for r in made["results"]] == expected


def test_what_was_set_up_is_torn_down_after_a_failure(world):
    made = world.run(
        HEAD + "local log = {} T.after_each(function() log[#log + 1] = 'down' end)"
        " T.after_all(function() log[#log + 1] = 'end' end)"
        " T.before_all(function() error('x') end)"
        " T.describe('g', function() T.after_all(function() log[#log + 1] = 'no' end)"
        "   T.it('a', function() end) end)"
        " T.run_all() return log"
    )
    assert made == ["no", "end"]


@pytest.mark.requirement("testing.filter")
def test_filter_takes_part_of_the_whole_name(world):
    text = (
        HEAD + "T.describe('Reader', function() T.it('opens (twice)', function() end)"
        " T.it('closes', function() end) end) T.it('writer', function() error('x') end) "
    )
    assert names(world.run(text + "return T.run_all{filter = 'reader > '}")) == [
        "Reader > opens (twice)",
        "Reader > closes",
    ]
    assert names(world.run(HEAD + "return T.run_all{filter = '(TWICE'}")) == [
        "Reader > opens (twice)"
    ]
    nothing = world.run(HEAD + "return T.run_all{filter = 'nowhere'}")
    assert (nothing["total"], nothing["results"], nothing["success"]) == (0, [], True)
    assert world.out.endswith("No tests match the filter\n")


def names(found):
    return [result["name"] for result in found["results"]]


@pytest.mark.requirement("testing.bail")
def test_bail_skips_what_comes_after_the_first_failure(world):
    found = world.run(
        HEAD + "local closed T.after_all(function() closed = true end)"
        " T.it('a', function() end) T.it('b', function() error('x', 0) end)"
        " T.describe('g', function() T.before_all(function() error('not called') end)"
        "   T.it('c', function() error('not called') end) end)"
        " local r = T.run_all{bail = true} return {r.results, closed}"
    )
    assert [(r["status"], r.get("error")) for r in found[0]] == [
        ("passed", None),
        ("failed", "x"),
        ("skipped", "not run: an earlier test failed"),
    ]
    assert found[1] is True


def test_a_test_may_end_itself_as_skipped(world):
    made = outcome(
        world,
        "T.it('a', function() T.skip('no key') error('not reached') end)"
        " T.describe('g', function() T.before_each(function() T.skip() end)"
        "   T.it('b', function() error('not reached') end) end)",
    )
    assert [(r["status"], r["error"]) for r in made["results"]] == [
        ("skipped", "no key"),
        ("skipped", "skipped"),
    ]


@pytest.mark.requirement("testing.reset")
def test_run_all_runs_the_same_again_until_reset(world):
    text = (
        HEAD + "local n = 0 T.it('a', function() n = n + 1 end) T.run_all() T.runAll()"
        " T.reset() local r = T.run_all{path = ARGS.dir} return {n, r.total}"
    )
    assert (
        world.run("local f = load([==[" + text.replace("ARGS.dir", "'.'") + "]==]) return f()")[0]
        == 2
    )


def test_dot_and_colon_snake_and_camel_are_the_same(world):
    passes(
        world,
        "T:expect(1):to_be(1) T.expect(1).to_be(1) T.expect(1).toBe(1) T:assertEqual(1, 1)"
        " T.expect(1):never().to_be(2) T.expect({1}):toContain(1):toEqual({1})"
        " T.assertNotNil(1) T:assertError(function() error('x') end, 'x')",
    )


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        ("T.it('a')", "it takes a function, got nil"),
        ("T.it(function() end)", "it takes a name, got function"),
        ("T.describe('a', 5)", "describe takes a function, got number"),
        ("T.before_each()", "before_each takes a function, got nil"),
        ("T.run_all('x')", "run_all takes a table of options, got string"),
        ("T.run_all{filtre = 'x'}", "run_all has no option 'filtre'"),
        ("T.run_all{bail = 1}", "run_all: 'bail' must be a boolean, got number"),
        ("T.run_all{path = 'nowhere'}", "run_all: no such file or directory: nowhere"),
        ("T.spy(3)", "spy takes a function, got number"),
    ],
)
def test_misuse_raises_where_it_stands(world, code, phrase):
    error = world.fails(f"\n{HEAD}\n{code}")
    assert str(error).startswith("Script execution error: t.lua:3: Validation error: " + phrase)


def test_declaring_within_a_test_is_misuse(world):
    for call in (
        "T.it('y', print)",
        "T.describe('y', print)",
        "T.run_all()",
        "T.before_all(print)",
    ):
        assert "cannot be called while tests run" in error_of(world, call)


def test_an_error_while_declaring_ends_the_script_and_leaves_the_group(world):
    error = world.fails(HEAD + "T.describe('g', function() error('early') end)")
    assert "t.lua:1: early" in str(error)
    made = outcome(world, "T.it('outside', function() end)")
    assert names(made) == ["outside"]


# -- assertions --------------------------------------------------------------------------------


@pytest.mark.requirement("testing.assertions")
@pytest.mark.parametrize(
    "body",
    [
        "T.expect(1):to_equal(1.0)",
        "T.expect({1, {a = {}}}):to_equal({1, {a = {}}})",
        "T.expect(0/0):to_equal(0/0)",
        "T.expect(nil):to_equal(nil)",
        "T.expect({1, nil, 3}):to_equal({1, nil, 3})",
        "T.expect(1):never():to_equal('1')",
        "T.expect({1}):never():to_equal({1, 2})",
        "T.expect({a = 1}):never():to_equal({a = 1, b = 2})",
        "T.expect({a = 1, b = 2}):never():to_equal({a = 1})",
        "T.expect({}):never():to_equal(JSON.null) T.expect(JSON.null):to_equal(JSON.null)",
        "local a, b = {}, {} a.own, b.own = a, b T.expect(a):to_equal(b)",
        "local mt = {__eq = function(x, y) return x.id == y.id end}"
        " T.expect(setmetatable({id = 1, n = 1}, mt)):to_equal(setmetatable({id = 1, n = 2}, mt))",
        "T.expect(Probe.counter('a')):never():to_equal(Probe.counter('b'))",
        "T.expect(Probe.live_table()):to_equal({a = 1, deep = {b = 2}})",
        "T.expect(Probe.record()):to_equal({name = 'rec', n = 3})",
        "T.expect(JSON.parse('[1,[2]]')):to_equal({1, {2}})",
        "local t = {} T.expect(t):to_be(t) T.expect(t):never():to_be({})",
        "T.expect('a'):to_be('a') T.expect(2):to_be(2.0)",
        "T.expect(nil):to_be_nil() T.expect(false):never():to_be_nil()",
        "T.expect(0):to_be_truthy() T.expect(false):never():to_be_truthy()",
        "T.expect('a.b'):to_contain('.b') T.expect('ab'):never():to_contain('.b')",
        "T.expect({1, {x = 1}}):to_contain({x = 1}) T.expect({k = 'v'}):to_contain('v')",
        "T.expect(error):to_error() T.expect(function() error('a (b) c') end):to_error('(b)')",
        "T.expect(function() error('code 42') end):to_error('code %d+')",
        "T.expect(function() error({}) end):to_error()",
        "T.expect(function() end):never():to_error()",
        "T.expect(function() error('other') end):never():to_error('code')",
        "T.expect(function() Tool = nil Tool.x() end):to_error('nil value')",
        "T.assert_equal({1}, {1}) T.assert_true(true) T.assert_false(false) T.assert_nil(nil)",
        "T.assert_not_nil(false) T.assert_contains('abc', 'b') T.assert_contains({3}, 3)",
        "T.assert_type({}, 'table') T.assert_type(1, 'integer') T.assert_type(1.5, 'float')",
        "T.assert_type(1, 'number') T.assert_error(function() error('x') end)",
    ],
)
def test_what_holds_passes(world, body):
    passes(world, body)


@pytest.mark.requirement("testing.assertions")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "T.expect({a = {1, {b = 'x'}}}):to_equal({a = {1, {b = 'y'}}})",
            "expected values to be equal; the first difference is at .a[2].b\n"
            '  expected: "y"\n  actual:   "x"',
        ),
        (
            "T.expect({1, 2}):to_equal({1, 2, 3})",
            "expected values to be equal; the first difference is at [3]\n"
            "  expected: 3\n  actual:   nil",
        ),
        (
            "T.expect({z = 1, ['odd key'] = 1}):to_equal({z = 2, ['odd key'] = 2})",
            'expected values to be equal; the first difference is at ["odd key"]\n'
            "  expected: 2\n  actual:   1",
        ),
        (
            "T.expect('1'):to_equal(1)",
            'expected values to be equal\n  expected: 1\n  actual:   "1"',
        ),
        (
            "T.expect({b = {}, a = 1, [1] = 'x'}):to_equal('a\\n')",
            'expected values to be equal\n  expected: "a\\n"\n  actual:   {"x", a = 1, b = {}}',
        ),
        (
            "T.expect(('x'):rep(50) .. '\\nab'):to_equal(('x'):rep(50) .. '\\nac')",
            "expected values to be equal; the texts part at byte 53, line 2\n"
            '  expected: ..."xxxxxxxxxxxxxxxxxxxxxxxxxxxx\\nac"\n'
            '  actual:   ..."xxxxxxxxxxxxxxxxxxxxxxxxxxxx\\nab"',
        ),
        ("T.expect({}):never():to_equal({})", "expected values to differ, both are {}"),
        (
            "T.expect({1}):to_be({1})",
            "expected: {1}\n  actual:   {1}\n  (equal, but not the same)",
        ),
        ("T.expect(1):never():to_be(1)", "expected something else than 1"),
        ("T.expect(1):to_be_nil()", "expected nil, got 1"),
        ("T.expect(nil):never():to_be_nil()", "expected a value, got nil"),
        (
            "T.expect(nil, 'LLM provider error: no key'):to_be_truthy()",
            "expected a truthy value, got nil\n  it came with: LLM provider error: no key",
        ),
        ("T.expect(5):never():to_be_truthy()", "expected nil or false, got 5"),
        ("T.expect('abc'):to_contain('x')", 'expected "abc"\n  to contain "x"'),
        ("T.expect({1}):never():to_contain(1)", "expected {1}\n  not to contain 1"),
        (
            "T.expect(5):to_contain(1)",
            "Validation error: only a text or a table can contain something, not a number",
        ),
        (
            "T.expect(5):never():to_error()",
            "Validation error: to_error needs a function to call, got number",
        ),
        ("T.expect(print):to_error()", "expected an error, but the function returned"),
        (
            "T.expect(function() error('x', 0) end):to_error('y')",
            'expected an error with "y"\n  actual: x',
        ),
        (
            "T.expect(function() error('x', 0) end):never():to_error()",
            "expected no error, got: x",
        ),
        (
            "T.expect(1):to_eq(1)",
            "expect(...) has no matcher 'to_eq'; there are to_equal, to_be, to_be_nil, "
            "to_be_truthy, to_contain, to_error, never",
        ),
        (
            "T.assert_equal(1, 2, 'the sum')",
            "the sum: expected values to be equal\n  expected: 2\n  actual:   1",
        ),
        ("T.assert_true(1)", "expected true, got 1"),
        ("T.assert_false(nil, 'flag')", "flag: expected false, got nil"),
        ("T.assert_nil(false)", "expected nil, got false"),
        ("T.assert_not_nil(nil)", "expected a value, got nil"),
        ("T.assert_contains({1}, 2)", "expected {1}\n  to contain 2"),
        ("T.assert_error(print)", "expected an error, but the function returned"),
        ("T.assert_type('1', 'number')", 'expected a number, got "1"'),
        ("T.assert_type(1.5, 'integer')", "expected a integer, got 1.5"),
    ],
)
def test_what_does_not_hold_says_what_was_there(world, body, message):
    assert error_of(world, body) == f"t.lua:1: {message}"


def test_the_line_is_that_of_the_assertion_and_the_way_to_it_is_told(world):
    found = world.run(
        HEAD
        + "\nlocal function check(x)\n  T.assert_true(x)\nend\n"
        + "T.it('a', function()\n  check(true)\n  check(false)\nend)\n"
        + "return T.run_all{verbose = true}"
    )
    assert found["results"][0]["error"] == "t.lua:3: expected true, got false"
    assert re.search(r"t.lua:3: in \w+ 'check'\n      t.lua:7\n", world.out)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("error()", "nil"),
        ("error({code = 1})", None),
        ("error(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine"),
        ("error(setmetatable({}, {__tostring = function() error('deep') end}))", None),
        ("local x = nil .. 'a'", "t.lua:1: attempt to concatenate a nil value"),
        ("Probe.fail_raise()", "t.lua:1: Component error: Tool 'x' not found"),
        ("Probe.panic()", None),
    ],
)
def test_whatever_a_test_raises_is_its_failure(world, raised, told):
    message = error_of(world, raised)
    assert told is None or message == told


def test_huge_deep_and_binary_values_are_shown_in_short(world):
    message = error_of(
        world,
        "local t = {} for i = 1, 5000 do t[i] = {i, {('z'):rep(5000)}} end T.expect(t):to_be(1)",
    )
    assert len(message) < 10_000
    assert "..." in message
    message = error_of(world, "T.expect('\\255\\0\\27'):to_equal('a')")
    assert message.endswith('expected: "a"\n  actual:   "\\255\\000\\027"')
    deep = "local function nest(n) local t = {} for _ = 1, n do t = {t} end return t end "
    passes(world, deep + "T.expect(nest(2000)):to_equal(nest(2000))")
    assert "cycle" in error_of(world, "local t = {} t.t = t T.expect(t):to_be_nil()")


def test_a_spy_notes_its_calls(world):
    found = world.run(
        HEAD + "local double, calls = T.spy(function(x) return x * 2 end)"
        " local silent, none = T.spy()"
        " local given = {double(2), Probe.now_call(double, 4), silent(nil, 1)}"
        " return {given, calls[1][1], calls[2][1], none[1].n, type(double)}"
    )
    assert found == [[4, 8], 2, 4, 2, "function"]


# -- waiting -----------------------------------------------------------------------------------


def test_a_test_waits_as_any_script_does(world):
    passes(
        world,
        "local p = Probe.waitAsync(0.01, 'later') T.expect(p:await()):to_be('later')"
        " T.expect(Probe.wait(0.01, 1)):to_be(1)"
        " local seen = {} Probe.all_of({function() Probe.wait(0.02) seen[#seen + 1] = 'slow' end,"
        "   function() seen[#seen + 1] = 'fast' end})"
        " T.expect(seen):to_equal({'fast', 'slow'})"
        " T.expect(function() Probe.wait('x') end):to_error('seconds')",
    )


def test_a_promise_that_a_test_returns_is_awaited(world):
    made = outcome(
        world,
        "local c = Probe.counter() local log = {}"
        " T.before_each(function()"
        "   return Probe.waitAsync(0.01):next(function() log[1] = 1 end) end)"
        " T.it('good', function() T.expect(log[1]):to_be(1) return Probe.waitAsync(0.01) end)"
        " T.it('chained', function() return Probe.waitAsync(0.01, 3):next(function(v)"
        "   T.expect(v):to_be(4) end) end)"
        " T.it('rejected', function() return c:slowAsync(0.01, true) end)",
    )
    assert [(r["status"], r.get("error")) for r in made["results"]] == [
        ("passed", None),
        ("failed", "t.lua:1: expected: 4\n  actual:   3"),
        ("failed", "Tool execution error: slow failed"),
    ]


def test_coroutines_in_a_test_are_the_tests_own(world):
    passes(
        world,
        "local co = coroutine.wrap(function()"
        "   coroutine.yield(Probe.wait(0.01, 5)) error('end') end)"
        " T.expect(co()):to_be(5) T.expect(co):to_error('end')",
    )


# -- ending ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "T.expect(function() while true do end end):to_error()",
        "Probe.hang()",
    ],
)
def test_no_assertion_and_no_hook_outlives_the_deadline(world, body):
    text = (
        f"{HEAD} T.after_each(function() print('after') end) T.it('x', function() {body} end)"
        " T.it('y', function() print('next') end) T.run_all()"
    )
    assert isinstance(world.fails(text, seconds=0.3), LLMTimeoutError)
    assert world.out == ""
    # The state goes on.
    made = outcome(world, "T.reset() T.it('z', function() end)")
    assert made["success"] is True


def test_a_cancelled_run_ends_at_once(world):
    cancel = CancelSignal()
    future = world.submit(
        HEAD + "T.it('x', function() Probe.hang() end) T.run_all()",
        context=world.context(cancel=cancel),
    )
    from bridge_testkit import HANGS

    assert HANGS.wait(20)
    cancel.cancel("enough")
    assert isinstance(future.exception(20), ExecutionCancelled)


# -- discovery ---------------------------------------------------------------------------------


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.replace('__', '-')}.lua").write_text(HEAD + text)


@pytest.mark.requirement("testing.discovery")
def test_without_tests_of_its_own_a_script_runs_those_below_tests(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path / "tests", a_test="T.before_each(function() A = 1 end) T.it('a', function() end)"
    )
    write(tmp_path / "tests", helper="error('not a test')")
    write(tmp_path / "tests" / "deep", test_b="T.it('b', function() assert(A == nil) end)")
    write(tmp_path / "tests" / "deep", test__c="T.it('c', function() T.assert_nil(nil) end)")
    write(tmp_path / "tests" / ".hidden", d_test="error('hidden')")
    world.run("A = nil")
    found = world.run(HEAD + "return T.run_all()")
    assert names(found) == ["a", "c", "b"]
    # Hooks outside of any group belong to their file.
    assert [r["status"] for r in found["results"]] == ["passed", "passed", "failed"]
    assert found["results"][2]["place"] == "tests/deep/test_b.lua:1"


def test_a_file_that_cannot_be_loaded_is_a_failed_test(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t", a_test="x = = 1", b_test="T.it('lost', print) error('no luck')")
    write(tmp_path / "t", c_test="T.it('c', function() end)")
    found = world.run(HEAD + "return T.run_all{path = 't'}")
    assert [(r["name"], r["status"]) for r in found["results"]] == [
        ("t/a_test.lua", "failed"),
        ("t/b_test.lua", "failed"),
        ("c", "passed"),
    ]
    assert "unexpected symbol near '='" in found["results"][0]["error"]
    assert found["results"][1]["error"] == "t/b_test.lua:1: no luck"


def test_a_discovered_file_that_runs_itself_counts_once(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path / "tests",
        a_test="T.it('a', function() N = (N or 0) + 1 end) local r = T.run_all() M = r.total",
        test_all="T.run_all()",
    )
    found = world.run(HEAD + "local r = T.run_all() return {r.total, N, M}")
    assert found == [1, 1, 1]
    assert world.out.count("1 test: 1 passed") == 1


def test_the_tests_beside_the_script_are_found_from_anywhere(world, tmp_path, monkeypatch):
    write(tmp_path / "app" / "tests", a_test="T.it('a', function() end)")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    main = str(tmp_path / "app" / "main.lua")
    assert names(world.run(HEAD + "return T.run_all()", path=main)) == ["a"]


def test_nowhere_else_is_looked(world, tmp_path, monkeypatch):
    write(tmp_path / "secret", a_test="T.it('a', function() end)")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    error = world.fails(HEAD + "T.run_all{path = '../secret'}")
    assert "Path not allowed" in str(error)


def test_nothing_found_is_said(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert world.run(HEAD + "return T.run_all().total") == 0
    assert world.out == "No tests found in tests\n"


def test_the_library_needs_no_file_of_the_scripts(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llmspell").mkdir()
    (tmp_path / "llmspell" / "test.lua").write_text("error('another file')")
    assert world.run("return type(require('llmspell.test').run_all)") == "function"
    assert world.run("return require('llmspell.test') == require('llmspell.test')") is True


# -- a runner ----------------------------------------------------------------------------------


def test_a_runner_is_told_of_every_test_and_the_library_is_silent(world):
    seen: list[ScriptTest] = []

    def submit(text, **wishes):
        context = world.context(data={SCRIPT_TESTS: ScriptTests(seen.append, **wishes)})
        return world.submit(HEAD + text, context=context).result(30)

    done = submit(
        "T.it('a', function() print('from a') end) T.it('b', function() error('\\255', 0) end)"
        " T.skip('c') T.run_all()"
    )
    assert done.exit_code is None
    assert world.out == "from a\n"
    assert [(t.number, t.name, t.status, t.error) for t in seen] == [
        (1, "a", "planned", None),
        (2, "b", "planned", None),
        (3, "c", "planned", None),
        (1, "a", "started", None),
        (1, "a", "passed", None),
        (2, "b", "started", None),
        (2, "b", "failed", "\ufffd"),
        (3, "c", "skipped", None),
    ]
    assert {t.place for t in seen} == {"t.lua:1"}
    seen.clear()
    submit("T.it('d', function() end) T.run_all()", rest=True)
    assert [(t.number, t.status) for t in seen] == [(4, "planned"), (4, "started"), (4, "passed")]
    seen.clear()
    submit("T.run_all{filter = 'a'}", filter="B", bail=True)
    assert seen == []
    submit("T.run_all()", filter="B", bail=True)
    assert [t.status for t in seen] == ["planned", "started", "failed"]


def test_a_runner_does_the_discovering(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tests", a_test="T.it('a', function() end)")
    seen: list[ScriptTest] = []
    context = world.context(data={SCRIPT_TESTS: ScriptTests(seen.append)})
    world.submit(HEAD + "T.run_all()", context=context).result(30)
    assert seen == []


# -- recording ---------------------------------------------------------------------------------


class Memory(RunLedger):
    """Just what recording and replaying ask for."""

    def __init__(self):
        self.intents, self.outcomes = {}, {}

    def open_run(self, run): ...

    def close_run(self, run_id, status, *, finished_at, error=None): ...

    def append(self, intent):
        self.intents[intent.sequence] = intent

    def settle(self, outcome):
        self.outcomes[outcome.sequence] = outcome

    def run(self, run_id): ...

    def runs(self, *, limit=None):
        return []

    def effects(self, run_id):
        for number, intent in sorted(self.intents.items()):
            yield Effect(intent, self.outcomes.get(number))

    def prune(self, *, older_than=None, keep=None):
        return 0

    def erase_payloads(self, run_id):
        return 0


def test_a_replay_has_the_durations_the_files_and_the_outcome_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tests", a_test="T.it('a', function() Probe.wait(0.01) end)")
    write(tmp_path / "tests", b_test="T.it('b', function() T.expect({a = 1}):to_equal({}) end)")
    ledger = Memory()

    def play(policy):
        world = World()
        context = ExecutionContext(world.services, effects=policy(ledger, "r"))
        try:
            source = Source(HEAD + "return T.run_all{verbose = true}", "t.lua")
            done = world.state.submit(source, context).result(20)
            return done.value, done.exit_code, world.out
        finally:
            world.close()

    first = play(Recording)
    for file in (tmp_path / "tests").iterdir():
        file.unlink()
    assert play(Replaying) == first
    assert first[1] == 1


async def test_many_states_test_at_once():
    async def one(number):
        world = World()
        try:
            text = (
                HEAD + f"for i = 1, 20 do T.it('t' .. i, function() assert(i ~= {number}) end) end"
            )
            found = await asyncio.wrap_future(world.submit(text + " return T.run_all()"))
            return [r["name"] for r in found.value["results"] if r["status"] == "failed"]
        finally:
            await asyncio.to_thread(world.close)

    assert await asyncio.gather(*(one(n) for n in range(1, 9))) == [[f"t{n}"] for n in range(1, 9)]
