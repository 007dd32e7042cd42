"""What the engine tells about names, and whether code is finished."""

import pytest

from bridge_testkit import World, make_services
from llmspell_bridge import definitions, reference_page
from llmspell_core import PluginIndex, describe_globals


def about(world, code: str):
    cursor = code.index("|")
    return world.engine.inspect(code[:cursor] + code[cursor + 1 :], cursor)


@pytest.mark.parametrize(
    ("code", "name", "kind", "signature"),
    [
        ("Pro|be", "Probe", "global", "Probe"),
        (
            "Probe.take_te|xt",
            "Probe.take_text",
            "function",
            "Probe.take_text(text: string): string",
        ),
        ("|Probe.take_text", "Probe", "global", "Probe"),
        ("Probe.takeText|", "Probe.take_text", "function", "Probe.take_text(text: string): string"),
        ("Probe.answer|", "Probe.answer", "field", "Probe.answer: integer"),
        (
            "Probe.counter():sl|ow",
            "Counter:slow",
            "method",
            "Counter:slow(seconds: number, fail?: boolean): integer?, string?",
        ),
        (
            "Probe.counter():slow_async|",
            "Counter:slow_async",
            "method",
            "Counter:slow_async(seconds: number, fail?: boolean, callback?: function): Promise",
        ),
        ("local c = Probe.counter() c|", "c", "variable", "c: Counter"),
        ("local function f(a, b) end f|", "f", "function", "f(a, b)"),
        ("local t = {} t|", "t", "variable", "t: table"),
        (
            "string.re|p",
            "string.rep",
            "function",
            "string.rep(s: string, n: integer, separator?: string): string",
        ),
        ("('x'):up|per()", "string.upper", "method", "string.upper(s: string): string"),
        (
            "Debug.dump_with_options(x, { max_de|pth = 1 })",
            "max_depth",
            "key",
            "max_depth?: integer",
        ),
        (
            "Probe.take_mode|",
            "Probe.take_mode",
            "function",
            'Probe.take_mode(mode?: "read"|"write"): string',
        ),
        (
            "Probe.take_all|",
            "Probe.take_all",
            "function",
            "Probe.take_all(first: string, ...): any[]",
        ),
    ],
)
def test_a_name_is_explained(world, code, name, kind, signature):
    found = about(world, code)
    assert (found.name, found.kind, found.signatures) == (name, kind, (signature,))
    assert found.parameter is None
    bare = code.replace("|", "")
    assert bare[found.start : found.end].isidentifier()


@pytest.mark.parametrize(
    ("code", "name", "argument"),
    [
        ("Probe.take_text(|", "Probe.take_text", 0),
        ("Probe.options('a', |", "Probe.options", 1),
        ("Probe.options('a', { 1, 2 }, |", "Probe.options", 2),
        ("Probe.options(nobody|", "Probe.options", 0),
        ("Probe.take_dict({ a = |", "Probe.take_dict", 0),
        ("Probe.counter():same(|)", "Counter:same", 0),
        ("math.max(1, |", "math.max", 1),
        ("Probe.take_text('|", "Probe.take_text", 0),
    ],
)
def test_inside_a_call_the_function_is_explained(world, code, name, argument):
    found = about(world, code)
    assert (found.name, found.parameter) == (name, argument)


@pytest.mark.parametrize("code", ["|", "nobody|", "-- Probe|", "x = 1 |", "(1 + |)", "if| x then"])
def test_of_nothing_nothing_is_told(world, code):
    assert about(world, code) is None


def test_a_method_is_told_in_full(world):
    found = about(world, "Debug.add_advanced_filter|")
    assert (
        found.text
        == """\
Debug.add_advanced_filter(pattern: string, type: string, enabled?: boolean): boolean

  Add a rule for modules of a certain type; false for a bad one.

  A regular expression is searched for in the first 100 characters of a module's name. One
  that might take too long is a bad one: repeated groups, more than three repetitions.

  Parameters:
    pattern: What the rule's type takes; hierarchical is a module and those below it.
    type: exact, wildcard, regex or hierarchical.
    enabled: Whether messages of such modules are taken (default true)"""
    )
    assert found.summary == "Add a rule for modules of a certain type; false for a bad one."
    assert found.markdown.startswith("```lua\nDebug.add_advanced_filter(")
    assert "- `type`: `exact`, `wildcard`, `regex` or `hierarchical`." in found.markdown


def test_failures_other_names_and_twins_are_told(world):
    text = about(world, "Probe.counter():slow|").text
    assert "A failure gives nil and the message." in text
    assert "Does not wait as slow_async, which takes a callback last and gives a promise." in text
    assert "Also: other_name." in about(world, "Probe.two_names|").text
    assert "success = false" in about(world, "Probe.fail_table|").text


def test_a_global_lists_its_members(world):
    found = about(world, "Debug|")
    assert "  Debug.timer(name: string): Timer\n      Start a timer.\n" in found.text
    assert "- `Debug.timer(name: string): Timer`: Start a timer.\n" in found.markdown


# Whether code is finished ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "indent"),
    [
        ("function foo()", "  "),
        ("if x then\nelse", "  "),
        ("do", "  "),
        ("repeat\nx=x+1\nuntil", ""),
        ("{", "  "),
        ("(", "  "),
        ('"a', ""),
        ("print('a", ""),
        ("[[a", ""),
        ("--[[", ""),
        ("local x =", ""),
        ("1 +", ""),
        ("x.", ""),
        ("x:y", ""),
        ("for i = 1, 3", ""),
        ("for i = 1, 3 do\n  if i then", "    "),
        ("t = {\n  a = function()", "    "),
        ("promise:then(function(x)", "    "),
        ("return 1,", ""),
        ("while true do if x then end", "  "),
    ],
)
def test_unfinished_code_is_incomplete(world, code, indent):
    found = world.engine.is_complete(code)
    assert (found.status, found.indent) == ("incomplete", indent)


@pytest.mark.parametrize(
    "code",
    [
        "return",
        "--[[ x ]]",
        "-- x",
        "local x = 1 +\n2",
        "x",
        "1 + 1",
        "x.y:z()",
        "",
        "  \n",
        "promise:then(print)",
        "#!/usr/bin/env llmspell\nprint(1)",
        "s = 'ü' -- ü",
    ],
)
def test_finished_code_is_complete(world, code):
    assert world.engine.is_complete(code).status == "complete"


@pytest.mark.parametrize(
    "code",
    [
        "if if then end",
        "x y",
        "end",
        "a = 'b\nc",
        "local 1",
        "= 1",
        "\x1bLua",
        "a\0b",
        ")",
        "x = }",
    ],
)
def test_code_that_nothing_can_finish_is_invalid(world, code):
    found = world.engine.is_complete(code)
    assert (found.status, found.indent) == ("invalid", "")


def test_large_code_is_judged(world):
    assert world.engine.is_complete("x = 1\n" * 100_000).status == "complete"
    assert world.engine.is_complete("f(" * 10_000).status in {"incomplete", "invalid"}
    assert world.engine.is_complete("x" * 11_000_000).status == "invalid"


# Definitions for editors and pages ---------------------------------------------------------------


def test_the_definitions_are_lua_and_define_what_scripts_see(world):
    text = definitions(describe_globals(world.services.plugins))
    other = World(services=make_services())
    # Loaded in a state without the globals themselves.
    other.run(f"Probe, Debug = nil, nil load([==[{text}]==])()")
    assert other.run(
        "return { type(Probe.take_text), Probe.takeText == Probe.take_text,"
        " type(Debug.dump_with_options), type(ARGS) }"
    ) == ["function", True, "function", "table"]
    other.close()


def test_the_definitions_tell_types_and_docs(world):
    text = definitions(describe_globals(world.services.plugins))
    assert text.startswith("---@meta llmspell\n")
    for expected in (
        "---Text.\n---@param text string\n---@return string\nfunction Probe.take_text(text) end\n"
        "Probe.takeText = Probe.take_text\n",
        '---@param mode? "read"|"write"\n',
        "---@class llmspell.Counter\n---@field name string Its name.\n"
        "---@field current_count integer The count.\n---@field currentCount integer The count.\n",
        "---@param other llmspell.Counter\n---@return boolean\nfunction handle:same(other) end\n",
        "---@return integer?\n---@return string? # the message of a failure\n"
        "function handle:slow(seconds, fail) end\n",
        "---@param callback? fun(result: any, message: string?)\n---@return llmspell.Promise\n"
        "function handle:slow_async(seconds, fail, callback) end\n",
        "---@param options? llmspell.DumpOptions As `dump` where they say nothing.\n",
        "---@class llmspell.DumpOptions\n---@field max_depth? integer Tables in tables (10).\n",
        'handle["then"] = handle.next\n',
        "---@field [string] any\nProbe = {}\n",
    ):
        assert expected in text, expected


def test_a_broken_global_is_left_out_of_the_definitions():
    services = make_services(Ruin="not_there_at_all:Ruin")
    text = definitions(describe_globals(services.plugins))
    assert "Ruin" not in text
    assert "Probe" in text


def test_a_page_tells_every_member_of_a_global_and_its_handles(world):
    (probe,) = describe_globals(world.services.plugins, only=["Probe"])
    page = reference_page(probe, note="A note.")
    assert page.startswith("# Probe\n\nA note.\n\nA third party's global.\n")
    assert "## Counter\n" in page
    for described, separator in [(probe.object, "."), (probe.handles[0], ":")]:
        for member in described.members:
            if member.kind == "method":
                assert f"### `{described.name}{separator}{member.name}`\n" in page
            else:
                assert f"- `{described.name}.{member.name}: " in page


# The library -------------------------------------------------------------------------------------


@pytest.mark.only_lua("its library is not the same")
def test_the_library_that_is_documented_is_the_one_there_is(world):
    from llmspell_bridge._library import library

    there = world.run("""
        local found = {}
        for name, value in pairs(_G) do
          local is_table = type(value) == 'table'
          local is_plain = getmetatable(value) == nil
          if is_table and is_plain and name ~= '_G' and name ~= 'arg' and name ~= 'ARGS' then
            for key in pairs(value) do found[#found + 1] = name .. '.' .. tostring(key) end
          end
          if is_plain or not is_table then found[#found + 1] = name end
        end
        return found""")
    documented = {name for name in library() if ":" not in name and "llmspell." not in name}
    declared = {"ARGS"}
    assert set(there) | declared == documented


def test_the_test_library_that_is_documented_is_the_one_there_is(world):
    from llmspell_bridge._library import library
    from llmspell_core import camel

    there = world.run(
        "local names = {} for name in pairs(require('llmspell.test')) do"
        " names[#names + 1] = name end return names"
    )
    prefix = "llmspell.test."
    documented = [n.removeprefix(prefix) for n in library() if n.startswith(prefix)]
    assert set(there) == {spelled for name in documented for spelled in (name, camel(name))}
    for name in library():
        if name.startswith("expectation:"):
            method = name.removeprefix("expectation:")
            code = f"return type(require('llmspell.test').expect(1).{method})"
            assert world.run(code) == "function"


def test_everything_declared_as_native_is_there(world):
    import bridge_testkit

    found = describe_globals(
        PluginIndex(p for p in world.services.plugins.all() if p.name in bridge_testkit.BUILT_IN)
    )
    wanted = {
        described.name: [
            name
            for member in described.object.members
            if member.kind == "method"
            for name in member.names
        ]
        for described in found
    }
    everything = describe_globals(world.services.plugins)
    wanted["Streaming.create()"] = _names(everything, "Streaming", "Stream")
    wanted["Probe.wait_async(0)"] = _names(everything, "Probe", "Promise")
    for value, names in wanted.items():
        listed = ", ".join(f"'{name}'" for name in names)
        missing = world.run(
            f"local value, missing = {value}, {{}} for _, name in ipairs({{ {listed} }}) do"
            " if type(value[name]) ~= 'function' then missing[#missing + 1] = name end end"
            " return missing"
        )
        assert missing in ([], {}), value


def test_nothing_is_there_that_is_not_declared(world):
    for described in describe_globals(world.services.plugins):
        names = world.run(
            f"local names = {{}} for name in pairs({described.name}) do"
            " names[#names + 1] = name end return names"
        )
        known = {n for m in described.object.members for n in (*m.names, *m.twins)}
        assert set(names) <= known, described.name


def _names(found, owner: str, handle: str) -> list[str]:
    (described,) = (each for each in found if each.name == owner)
    (wanted,) = (each for each in described.handles if each.name == handle)
    return [name for member in wanted.members for name in member.names]
