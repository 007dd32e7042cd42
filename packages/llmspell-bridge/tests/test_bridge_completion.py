"""What the engine offers while somebody writes a script."""

import threading
import time

import pytest

from bridge_testkit import KEPT, World, make_services

PAINTER = """
from typing import Annotated, Any, Literal, Self, TypedDict

from llmspell_core import Registered, attribute, exposed, script_global, script_object


class Frame(TypedDict):
    sky: str


class Colours(TypedDict, total=False):
    '''Colours.

    Attributes:
        sky: The one above.
    '''

    sky: str
    mood: Literal["bright", "dark"]
    inner: "Frame"
    again: "Colours"
    names: list[Annotated[str, Registered("llmspell.globals")]]


@script_object("Picture")
class Picture:
    '''A picture.'''

    @attribute
    def name(self) -> str:
        '''Its name.'''

    @exposed()
    def hang_up(self) -> Self:
        '''Hangs it.'''

    @exposed()
    def parts(self) -> list["Picture"]:
        '''Of several wings.'''


@script_object("Easel")
class Easel:
    '''Holds one.'''

    @exposed()
    def colour(self, colour: Literal["red", "blue"]) -> Self:
        '''A colour.'''

    @exposed(fails="pair", async_twin=True)
    async def finish(self) -> Picture:
        '''The picture.'''


@script_global("Painter")
class Painter:
    '''Paints.'''

    def __init__(self, host):
        raise AssertionError("nobody constructs it")

    @exposed()
    def easel(self, options: Colours | None = None) -> Easel:
        '''An easel.'''

    @exposed(names=("sketch",))
    def paint_it(self, motif: str, options: Annotated[Any, Colours] = None) -> Picture | Easel:
        '''A picture of it.'''

    @exposed()
    def by_name(self, name: Annotated[str, Registered("llmspell.globals")]) -> Picture | None:
        '''The picture of that name.'''
"""


@pytest.fixture(scope="module", autouse=True)
def painter(tmp_path_factory):
    import sys

    folder = tmp_path_factory.mktemp("painter")
    (folder / "painter_of_tests.py").write_text(PAINTER)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def studio():
    made = World(services=make_services(Painter="painter_of_tests:Painter"))
    yield made
    made.close()


def split(code: str) -> tuple[str, int]:
    """The code without its ``|``, and where that stood."""
    cursor = code.index("|")
    return code[:cursor] + code[cursor + 1 :], cursor


def texts(found) -> list[str]:
    return [each.text for each in found.matches]


def offered(world, code: str) -> list[str]:
    text, cursor = split(code)
    found = world.engine.complete(text, cursor)
    assert found.end == cursor
    assert all(each.startswith(text[found.start : cursor]) for each in texts(found))
    return texts(found)


EASEL = ["colour", "finish", "finish_async"]
PICTURE = ["hang_up", "parts"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Pain|", ["Painter"]),
        ("Painter.|", ["easel", "paint_it", "by_name"]),
        ("Painter:|", ["easel", "paint_it", "by_name"]),
        ("Painter.pa|", ["paint_it"]),
        ("Painter.paintI|", ["paintIt"]),
        ("Painter.sk|", ["sketch"]),
        ("Painter.Pa|", []),
        ("Painter.easel():|", EASEL),
        ("Painter.easel{}:|", EASEL),
        ("Painter.easel().|", EASEL),
        ("Painter\n  .easel()\n  :colour('red')\n  :fin|", ["finish", "finish_async"]),
        ("Painter.easel():finish().|", ["name", *PICTURE]),
        ("Painter.easel():finish():|", PICTURE),
        ("Painter.easel():finish():parts()[1]:hang_up():|", PICTURE),
        ("Painter.sketch('x'):|", PICTURE + EASEL),
        ("(Painter.easel()):|", EASEL),
        ("local e = Painter.easel()\ne:|", EASEL),
        ("local e <const> = Painter.easel()\ne:|", EASEL),
        ("e = Painter.easel()\ne:|", EASEL),
        ("local a, e = 1, Painter.easel()\ne:|", EASEL),
        ("local p, err = Painter.easel():finish()\nerr:up|", ["upper"]),
        ("local e = nil or Painter.easel()\ne:|", EASEL),
        ("local e = Painter.easel() local e = 1\ne:|", []),
        ("if x then local e = Painter.easel() end\ne:|", []),
        ("if x then local e = Painter.easel() e:| end", EASEL),
        ("local e\nif x then e = Painter.easel() end\ne:|", EASEL),
        ("local function f(e) e:|", []),
        ("local e = Painter.easel()\nlocal function f() e:|", EASEL),
        ("for _, p in ipairs(Painter.easel():finish():parts()) do p:|", PICTURE),
        ("local t = { easel = Painter.easel() }\nt.easel:|", EASEL),
        ("local t = {}\nt.easel = Painter.easel()\nt.ea|", ["easel"]),
        ("local t = {}\nt['x'] = 1\nfunction t.paint(a, b) end\nt.|", ["paint"]),
        ("local C = {}\nfunction C:m() self.|", ["m"]),
        ("local t = { Painter.easel() }\nt[1]:|", EASEL),
        ("local p = Painter.easel():finish_async()\np:sta|", ["status"]),
        ("local p = Painter.easel():finishAsync()\np.na|", ["name"]),
        ("local p = Painter.easel():finish_async()\np:await():|", PICTURE),
        ("local s = 'a' .. 1\ns:rev|", ["reverse"]),
        ("('x'):rep|", ["rep"]),
        ("('x'):upper():lo|", ["lower"]),
        ("string.fo|", ["format"]),
        ("io.open('x'):re|", ["read"]),
        ("require('json').pa|", ["parse"]),
        ("local T = require('llmspell.test')\nT.descr|", ["describe"]),
        ("local T = require 'llmspell.test'\nT.expect(1):never():to_e|", ["to_equal", "to_error"]),
        ("local T = require('llmspell.test')\nlocal e = T.expect e(1):to_co|", ["to_contain"]),
        ("nobody.|", []),
        ("nobody.knows:|", []),
        ("print.|", []),
    ],
)
def test_what_can_follow(studio, code, expected):
    assert offered(studio, code) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Painter.easel{|", ["sky", "mood", "inner", "again", "names"]),
        ("Painter.easel({|", ["sky", "mood", "inner", "again", "names"]),
        ("Painter.easel({ sky = 'x', |", ["mood", "inner", "again", "names"]),
        ("Painter.sketch('x', { mo|", ["mood"]),
        ("Painter.easel{ inner = { s|", ["sky"]),
        ("local e = Painter.easel{ sky = 'x' }\nPainter.easel{ m|", ["mood"]),
    ],
)
def test_keys_of_declared_tables_come_first(studio, code, expected):
    assert offered(studio, code)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Painter.easel():colour('|", ["red", "blue"]),
        ('Painter.easel():colour("b|', ["blue"]),
        ("Painter.easel():colour'|", ["red", "blue"]),
        ("Painter.easel{ mood = 'd|", ["dark"]),
        ("Painter.by_name('Pro|", ["Probe"]),
        ("Painter.easel{ names = { 'Pai|", ["Painter"]),
        ("Painter['ea|", ["easel"]),
        ("Painter.easel():colour(|", ['"red"', '"blue"']),
    ],
)
def test_words_are_offered_where_they_are_taken(studio, code, expected):
    assert offered(studio, code)[: len(expected)] == expected


@pytest.mark.parametrize(
    "code",
    [
        "-- Pain|",
        "--[[ Pain|",
        "x = 'Pain|",
        "x = [[Pain|",
        "local Pain|",
        "goto Pain|",
        "for Pain|",
        "function Pain|",
        "x = 12|",
        "x = 0xPain|",
        "::Pain|",
    ],
)
def test_nothing_is_offered_where_no_name_can_be_used(studio, code):
    assert offered(studio, code) == []


def test_names_in_sight_come_before_globals_and_keywords(studio):
    code = "local pear = 1\nlocal function plum(peach) local persimmon = 2\nprint(p|"
    found = offered(studio, code)
    assert found[:4] == ["persimmon", "peach", "plum", "pear"]
    assert found[4:] == ["package", "pairs", "pcall", "print"]
    assert offered(studio, "fo|") == ["for"]
    assert offered(studio, "|")[-1] == "while"


def test_a_completion_tells_signature_kind_and_first_sentence(studio):
    (found,) = studio.engine.complete("Painter.pain", 12).matches
    assert (found.text, found.kind, found.signature, found.summary) == (
        "paint_it",
        "function",
        "Painter.paint_it(motif: string, options?: any): Picture|Easel",
        "A picture of it.",
    )


def test_positions_are_code_points(studio):
    code = "local ü = '𝄞' Painter.ea"
    found = studio.engine.complete(code, len(code))
    assert (found.start, found.end) == (len(code) - 2, len(code))
    assert code[found.start : found.end] == "ea"


@pytest.mark.parametrize("cursor", [-5, 10_000])
def test_a_cursor_outside_the_code_is_taken_as_its_nearest_end(studio, cursor):
    found = studio.engine.complete("Pain", cursor)
    assert found.end == (0 if cursor < 0 else 4)
    assert studio.engine.inspect("Painter", cursor).name == "Painter"


@pytest.mark.parametrize(
    "code",
    [
        "(" * 5000 + "Painter.",
        "{" * 5000 + "Painter.",
        "x = " + "a .. " * 5000 + "Painter.",
        "x = a" + ".b" * 5000 + " Painter.",
        "x = a" + ":b()" * 5000 + " Painter.",
        "x = " + "f(" * 3000 + ")" * 3000 + " Painter.",
        "end " * 3000 + "Painter.",
        "function f( local = = ) ] } 'x\n Painter.",
        "\x00\xff\ud800 Painter.",
        "local a = Painter.easel():colour('red')\n" * 20_000 + "Painter.",
    ],
)
def test_any_code_is_read(studio, code):
    assert texts(studio.engine.complete(code, len(code)))[0] == "easel"
    assert studio.engine.inspect(code, len(code) - 2).name == "Painter"


def test_a_broken_global_is_offered_by_name_only(studio):
    world = World(services=make_services(Ruin="not_there_at_all:Ruin"))
    assert offered(world, "Rui|") == ["Ruin"]
    assert offered(world, "Ruin.|") == []
    assert world.engine.inspect("Ruin", 2) is None
    world.close()


def test_completing_a_name_imports_no_global(tmp_path, monkeypatch):
    import sys

    (tmp_path / "never_imported_for_names.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    world = World(services=make_services(Lazy="never_imported_for_names:Lazy"))
    assert offered(world, "La|") == ["Lazy"]
    assert "never_imported_for_names" not in sys.modules
    world.close()


# A running state ---------------------------------------------------------------------------------


def live(world, code: str):
    text, cursor = split(code)
    return world.state.complete(text, cursor, patience=20)


def test_before_the_first_execution_a_state_knows_what_the_engine_knows(studio):
    found = live(studio, "Painter.ea|")
    assert (texts(found), found.live) == (["easel"], False)


def test_what_exists_in_a_state_is_offered(world):
    world.run(
        "counter = Probe.counter('n') greet = function(name, ...) end text = 'x'"
        " fruits = { apple = 1, pear = { plum = true }, [1] = 2, ['not a name'] = 3 }"
        " promise = Probe.wait_async(0) stream = Streaming.create() file = io.stdout"
        " Alias = Debug string.shout = string.upper"
    )
    offers = {
        "coun|": ["counter"],
        "counter:|": ["add", "same", "slow", "slow_async"],
        "counter.na|": ["name"],
        "counter:add():add():sa|": ["same"],
        "fruits.|": ["apple", "pear"],
        "fruits.pear.|": ["plum"],
        "text:up|": ["upper"],
        "promise:sta|": ["status"],
        "stream:co|": ["collect"],
        "file:wr|": ["write"],
        "Alias.tim|": ["timer"],
        "string.sh|": ["shout"],
        "local counter = {only = 1} counter.|": ["only"],
    }
    for code, expected in offers.items():
        assert texts(live(world, code)) == expected, code
    (found,) = live(world, "gre|").matches
    assert (found.signature, found.kind) == ("greet(name, ...)", "function")
    assert live(world, "gre|").live


def test_a_value_that_exists_is_explained(world):
    world.services.secrets.add("sk-very-secret")
    world.run(
        "counter = Probe.counter('n') price = 42 greeting = 'hello' long = ('x'):rep(1000)"
        " key = 'my sk-very-secret key'"
    )
    for code, expected in {
        "price": "price: integer = 42",
        "greeting": 'greeting: string = "hello"',
        "long": "long: string",
        "key": 'key: string = "my <REDACTED> key"',
    }.items():
        assert world.state.inspect(code, 2, patience=20).signatures == (expected,)
    assert world.state.inspect("counter:add", 9, patience=20).name == "Counter:add"


def test_looking_runs_nothing_of_the_script(world):
    world.run(
        "ran = 0 local function run() ran = ran + 1 error('run') end"
        " trap = setmetatable({ inner = 1 }, { __index = run, __pairs = run, __len = run,"
        " __tostring = run, __name = 'Promise', __eq = run })"
        " chain = setmetatable({}, { __index = setmetatable({ deep = 1 }, { __index = run }) })"
        " endless = {} setmetatable(endless, { __index = endless })"
    )
    assert texts(live(world, "trap.|")) == ["inner"]
    assert texts(live(world, "trap.inner.other.|")) == []
    assert texts(live(world, "chain.|")) == ["deep"]
    assert texts(live(world, "endless.x.|")) == []
    assert world.run("return ran") == 0


def test_a_replaced_global_is_what_it_is_now(world):
    world.run("Probe = { mine = 1 }")
    assert texts(live(world, "Probe.|")) == ["mine"]


def test_a_large_state_is_looked_at_in_part(world):
    world.run("for i = 1, 30000 do _G['name_' .. i] = i end big = { wanted = 1 }")
    assert texts(live(world, "big.|")) == ["wanted"]
    # At most so many fields are looked at, and so many offered.
    assert 100 < len(texts(live(world, "name_|"))) <= 1000
    assert live(world, "name_12345|").end == 10


def test_a_waiting_script_is_looked_into(world):
    future = world.submit("waits = { here = 1 } Probe.keep(print) Utils.sleep(15000)")
    until = time.monotonic() + 20
    while not KEPT and time.monotonic() < until:
        time.sleep(0.005)
    assert texts(live(world, "waits.|")) == ["here"]
    assert not future.done()


def test_a_busy_script_is_not_waited_for(world):
    from llmspell_core import CancelSignal

    cancel = CancelSignal()
    context = world.context().child(cancel=cancel)
    future = world.submit("Probe.keep(print) while true do end", context=context)
    until = time.monotonic() + 20
    while not KEPT and time.monotonic() < until:
        time.sleep(0.005)
    found = world.state.complete("Probe.take_t", 12, patience=0.05)
    assert (texts(found), found.live) == (["take_text"], False)
    cancel.cancel("enough")
    future.exception(20)
    # What was asked and given up is not answered later on.
    assert live(world, "Probe.take_t|").live


def test_many_ask_at_once(world):
    world.run("t = { alpha = 1 }")
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(20):
            found = texts(world.state.complete("t.", 2, patience=20))
            if found != ["alpha"]:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        world.run("for i = 1, 1000 do end")
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_a_closed_state_answers_without_looking(world):
    world.run("x = 1")
    world.close()
    found = world.state.complete("Probe.take_t", 12)
    assert (texts(found), found.live) == (["take_text"], False)


def test_a_full_heap_is_looked_at_without_harm():
    limit = {"max_memory_bytes": 4_000_000}
    world = World({"engines": {"lua": limit, "luajit": limit}})
    world.run("kept = {} pcall(function() while true do kept[#kept + 1] = ('x'):rep(5000) end end)")
    assert "take_text" in texts(world.state.complete("Probe.take", 10, patience=20))
    world.close()
