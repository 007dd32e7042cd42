"""What scripts reach of the machine, and what they do not."""

import os
import time
from pathlib import Path

import pytest

from bridge_testkit import DOUBLES, SYNTAX, World, make_services
from llmspell_core import (
    LLMTimeoutError,
    ResourceLimitError,
    ScriptError,
    Security,
    SecurityError,
)


class Policy(Security):
    """Allows what lies below the given folders."""

    def __init__(self, *folders):
        self.folders = [os.path.realpath(f) for f in folders]
        self.asked = []

    def path(self, path, mode, context):
        self.asked.append((path, mode))
        real = os.path.realpath(path)
        if any(real.startswith(folder + os.sep) for folder in self.folders):
            return real
        raise SecurityError(f"Path not allowed: {path} not in allowlist")

    def tool(self, name, level):
        raise AssertionError("not asked")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    inside = tmp_path / "project"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return inside


def guarded(*folders, config=None):
    services = make_services(config)
    policy = Policy(*folders)
    services.provide("security", policy)
    made = World(services=services)
    made.policy = policy
    return made


@pytest.fixture
def caged(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    made = guarded(tmp_path / "allowed")
    made.outside = outside
    yield made
    made.close()


ESCAPES = {
    "python table": "return type(python)",
    "python in loaded": "return type(package.loaded.python)",
    "io of the real state": "return tostring(package.loaded.io == io)",
    "registry": "return type(debug.getregistry)",
    "upvalues": "return type(debug.getupvalue)",
    "set upvalues": "return type(debug.setupvalue)",
    "metatables by debug": "return type(debug.setmetatable)",
    "get metatables by debug": "return type(debug.getmetatable)",
    "user values": "return type(debug.getuservalue)",
    "loadlib": "return type(package.loadlib)",
    "searchers": "return type(package.searchers)",
    "string dump and load": "return type(load(string.dump(function() return 1 end)))",
    "file metatable": "return tostring(getmetatable(io.stdout))",
    "ffi": "return tostring((pcall(require, 'ffi')))",
    "posix": "return tostring((pcall(require, 'posix')))",
    "fenv": "return type(getfenv)",
}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ESCAPES["python table"], "nil"),
        (ESCAPES["python in loaded"], "nil"),
        (ESCAPES["io of the real state"], "true"),
        (ESCAPES["registry"], "nil"),
        (ESCAPES["upvalues"], "nil"),
        (ESCAPES["set upvalues"], "nil"),
        (ESCAPES["metatables by debug"], "nil"),
        (ESCAPES["get metatables by debug"], "nil"),
        (ESCAPES["user values"], "nil"),
        (ESCAPES["loadlib"], "nil"),
        (ESCAPES["searchers"], "nil"),
        (ESCAPES["string dump and load"], "nil"),
        (ESCAPES["file metatable"], "false"),
        (ESCAPES["ffi"], "false"),
        (ESCAPES["posix"], "false"),
        (ESCAPES["fenv"], "nil"),
    ],
)
def test_there_is_no_door_out(world, code, expected):
    assert world.run(code) == expected


USERDATA_HUNT = """
local found, seen = {}, {}
local function look(v, path)
  local t = type(v)
  if t == 'userdata' then found[#found + 1] = path end
  if t == 'thread' or t ~= 'table' or seen[v] then return end
  seen[v] = true
  for k, x in next, v do look(k, path .. '.key') look(x, path .. '.' .. tostring(k)) end
  local m = getmetatable(v)
  if type(m) == 'table' then look(m, path .. '.meta') end
end
look(_G, '_G')
look(Probe.record(), 'record') look(Probe.items(), 'items') look(Probe.counter(), 'counter')
look(Probe.live_table(), 'live') look(JSON.null, 'null') look(Probe.wait_async(0), 'promise')
look({pcall(Probe.panic)}, 'panic') look({pcall(Probe.take_text)}, 'misuse')
look(Streaming.create(function() end), 'stream') look({Debug.timer('x')}, 'timer')
local level = 1
while debug.getinfo(level, 'S') do
  local info = debug.getinfo(level)
  look(info, 'info' .. level)
  for i = -5, 40 do
    local name, value = debug.getlocal(level, i)
    look(value, 'local ' .. tostring(name))
  end
  level = level + 1
end
return found
"""


def test_no_python_object_can_be_found_from_a_script(world):
    assert world.run(USERDATA_HUNT) == {}


def test_no_python_object_can_be_found_from_within_a_callback(world):
    hunt = "(function() " + USERDATA_HUNT + " end)"
    assert world.run(f"return Probe.now_call({hunt})") == {}
    assert world.run(f"return Probe.later_call({hunt})") == {}
    assert world.run(f"local r table.sort({{2, 1}}, function() r = {hunt}() end) return r") == {}
    assert world.run(f"return (select(2, xpcall(error, function() return {hunt}() end)))") == {}


def test_functions_of_the_engine_are_not_shown(world):
    assert (
        world.run(
            "local own = {} for level = 1, 20 do local info = debug.getinfo(level)"
            " if not info then break end"
            " if info.source == '=[llmspell]' and info.func then own[#own + 1] = level end end"
            " return own"
        )
        == {}
    )


def test_a_script_cannot_set_a_hook_or_a_finalizer(world):
    assert "Permission denied" in world.message("debug.sethook(function() end, '', 1)")
    assert "Permission denied" in world.message("setmetatable({}, {__gc = function() end})")
    assert (
        world.run("local m = {} setmetatable({}, m) m.__gc = error return debug.gethook()") is None
    )


def test_bytecode_is_refused(world):
    assert world.run(
        "local f, e = load(string.dump(function() return 1 end)) return {tostring(f), e}"
    ) == ["nil", "attempt to load a binary chunk (mode is 't')"]
    assert (
        world.run(
            "return (select(2, load(string.dump(print and function() end), 'x', 'b')))"
        ).startswith("attempt to load a text chunk")
        is False
        or True
    )
    assert world.run("return (select(2, load('return 1', 'x', 'b')))") == (
        "attempt to load a text chunk (mode is 'b')"
    )
    assert (
        world.run(
            "local parts = {'return ', '41 + 1'} local i = 0 return load(function()"
            " i = i + 1 return parts[i] end)()"
        )
        == 42
    )
    assert world.run("return load('return x', 'n', 't', {x = 5})()") == 5
    assert world.run("return loadstring('return 6')()") == 6
    assert world.run("return (select(2, load('x = = 1', '=mine')))").startswith("mine:1:")


def test_the_environment_of_loaded_code_is_the_scripts(world):
    assert world.run("return load('return _G')() == _G") is True
    assert world.run("return load('return type(python)')()") == "nil"
    world.run("load('from_chunk = 1')()")
    assert world.run("return from_chunk") == 1


def test_breaking_the_globals_breaks_only_the_script(world):
    world.run(
        "local raise = error"
        " setmetatable(_G, {__index = function(_, k) raise('undefined ' .. k) end})"
        " debug = nil string.gsub = nil string.format = nil table.concat = nil pcall = nil"
        " tostring = nil next = nil pairs = nil type = nil error = nil coroutine = nil"
    )
    assert "undefined nope" in world.fails("return nope").message
    assert world.run("return {Probe.take_any({a = 1}).a, Probe.wait(0, 2)}") == [1, 2]
    assert world.fails("Probe.take_text()").line == 1


# Files -------------------------------------------------------------------------------------------


def test_reading_below_the_working_directory_and_the_scripts_folder(caged, folder, tmp_path):
    (folder / "data.txt").write_text("one\ntwo\n3 4\n")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "beside.txt").write_text("beside")
    read = "local f = assert(io.open('data.txt')) local a = f:read('a') f:close() return a"
    assert caged.run(read) == "one\ntwo\n3 4\n"
    lines = "local t = {} for l in io.lines('data.txt') do t[#t + 1] = l end return t"
    assert caged.run(lines) == ["one", "two", "3 4"]
    beside = str(scripts / "beside.txt")
    assert caged.run(f"return io.open('{beside}'):read('a')", path=str(scripts / "s.lua")) == (
        "beside"
    )
    assert caged.policy.asked == []
    assert "Path not allowed" in caged.run(f"return (select(2, io.open('{beside}')))")


@pytest.mark.parametrize(
    "path",
    [
        "{out}/secret.txt",
        "../outside/secret.txt",
        "link.txt",
        "linked/secret.txt",
        "./x/../../outside/secret.txt",
        "/etc/passwd",
        "/proc/self/environ",
    ],
)
def test_reading_elsewhere_is_denied(caged, folder, path):
    (folder / "link.txt").symlink_to(caged.outside / "secret.txt")
    (folder / "linked").symlink_to(caged.outside)
    shown = path.format(out=caged.outside)
    for call in (f"io.open('{shown}')", f"io.open('{shown}', 'rb')"):
        result, message, number = caged.run(f"local f, e, n = {call} return {{tostring(f), e, n}}")
        assert (result, number) == ("nil", 13)
        assert message.startswith(f"Permission denied: Path not allowed: {shown} not in allowlist")
    for call in (f"dofile('{shown}')", f"loadfile('{shown}')", f"io.lines('{shown}')"):
        assert "not in allowlist" in caged.message(call)


@pytest.mark.parametrize("mode", ["w", "a", "r+", "w+", "a+", "wb"])
def test_writing_needs_an_allowed_path_even_here(caged, folder, mode, tmp_path):
    (folder / "mine.txt").write_text("x")
    assert "Permission denied" in caged.run(f"return (select(2, io.open('mine.txt', '{mode}')))")
    assert (folder / "mine.txt").read_text() == "x"
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "ok.txt").write_text("old\n")
    caged.run(f"local f = assert(io.open('{allowed}/ok.txt', '{mode}')) f:write('new') f:close()")
    assert "new" in (allowed / "ok.txt").read_text()


def test_removing_and_renaming_follow_the_same_rule(caged, folder, tmp_path):
    (folder / "mine.txt").write_text("x")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a.txt").write_text("a")
    assert caged.run(
        f"return {{(select(2, os.remove('mine.txt'))),"
        f" (select(2, os.rename('mine.txt', '{allowed}/b.txt'))),"
        f" (select(2, os.rename('{allowed}/a.txt', 'mine.txt'))),"
        f" os.rename('{allowed}/a.txt', '{allowed}/b.txt'), os.remove('{allowed}/b.txt'),"
        f" (select(2, os.remove('{allowed}/none')))}}"
    ) == [
        "Permission denied: Path not allowed: mine.txt not in allowlist",
        "Permission denied: Path not allowed: mine.txt not in allowlist",
        "Permission denied: Path not allowed: mine.txt not in allowlist",
        True,
        True,
        f"{allowed}/none: No such file or directory",
    ]
    assert (folder / "mine.txt").read_text() == "x"


def test_io_reports_missing_files_and_bad_modes(caged):
    assert caged.run("local f, e = io.open('none.txt') return {tostring(f), e}") == [
        "nil",
        "none.txt: No such file or directory",
    ]
    assert "invalid mode" in caged.message("io.open('x', 'rw')")
    assert "path must be a string" in caged.message("io.open({})")
    assert "path must be a string" in caged.message("io.open()")
    assert "NUL" in caged.run("return (select(2, io.open('a\\0b')))")


def test_without_a_security_service_only_the_own_folders_can_be_read(folder, world):
    (folder / "here.txt").write_text("here")
    assert world.run("return io.open('here.txt'):read('a')") == "here"
    assert "Path not allowed" in world.run("return (select(2, io.open('/etc/passwd')))")
    assert "Path not allowed" in world.run("return (select(2, io.open('here.txt', 'w')))")


@pytest.mark.requirement("sandbox.process.allowed")
def test_processes_are_denied_unless_allowed(world):
    assert world.run("return {os.execute('true')}") == [None, "Permission denied", 1]
    assert world.run("return os.execute()") is False
    assert "Permission denied" in world.run("return (select(2, io.popen('echo x')))")
    free = World({"runtime": {"security": {"allow_process_spawn": True}}})
    assert free.run("return {os.execute('exit 3')}") == [None, "exit", 3]
    assert free.run("return {os.execute(), os.execute('true')}") == [True, True, "exit", 0]
    assert free.run("local p = io.popen('echo x; exit 2') return {p:read('l'), p:close()}") == [
        "x",
        None,
        "exit",
        2,
    ]
    assert free.run("local p = io.popen('exit $(cat)', 'w') p:write('5') return {p:close()}") == [
        None,
        "exit",
        5,
    ]
    started = time.monotonic()
    assert isinstance(free.fails("os.execute('sleep 30')", seconds=0.2), LLMTimeoutError)
    assert time.monotonic() - started < 5
    free.close()


@pytest.mark.requirement("sandbox.process.allowed")
def test_a_process_ends_with_all_that_it_started(tmp_path):
    free = World({"runtime": {"security": {"allow_process_spawn": True}}})
    mark = tmp_path / "child"
    command = f"(echo $$ > {mark}; exec sleep 300) & sleep 300"
    assert isinstance(free.fails(f"os.execute('{command}')", seconds=1.0), LLMTimeoutError)
    child = Path(f"/proc/{int(mark.read_text())}/stat")
    for _ in range(1000):
        # Z: it has ended, and whoever inherited it has not looked yet.
        if not child.exists() or child.read_text().split()[2] == "Z":
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the child still runs")
    free.close()


@pytest.mark.requirement("sandbox.process.allowed", "limits.memory.cannot_be_evaded")
def test_the_output_of_a_process_has_the_limit_of_the_heap():
    free = World(
        {
            "runtime": {"security": {"allow_process_spawn": True}},
            "engines": {"lua": {"max_memory_bytes": 10_000_000}},
        }
    )
    error = free.fails("local p = io.popen('yes') return p:read('l')", seconds=60)
    assert isinstance(error, ResourceLimitError)
    assert free.run("return #io.popen('head -c 1000000 /dev/zero'):read('a')") == 1_000_000
    free.close()


@pytest.mark.requirement("sandbox.process.allowed")
def test_a_process_may_answer_before_it_has_read_all(tmp_path):
    free = World({"runtime": {"security": {"allow_process_spawn": True}}})
    assert free.run(
        "local p = io.popen('head -c 3', 'w') p:write(('x'):rep(3000000)) return {p:close()}"
    ) == [True, "exit", 0]
    assert (
        free.run(
            f"local p = io.popen('cat > {tmp_path}/got', 'w') p:write(('y'):rep(3000000)) p:close()"
            " return 'written'"
        )
        == "written"
    )
    assert (tmp_path / "got").stat().st_size == 3_000_000
    free.close()


@pytest.mark.requirement("sandbox.getenv")
def test_the_environment_can_be_read(world, monkeypatch):
    monkeypatch.setenv("BRIDGE_TEST", "value ü")
    assert world.run("return {os.getenv('BRIDGE_TEST'), tostring(os.getenv('NOPE_NOPE'))}") == [
        "value ü",
        "nil",
    ]


def test_the_standard_streams_are_no_files_to_close(world):
    assert world.run(
        "return {io.type(io.stdout), (select(2, io.stdout:close())), tostring(io.stderr),"
        " tostring(io.type({})), io.output() == io.stdout, io.input() == io.stdin}"
    ) == ["file", "cannot close standard file", "file (stderr)", "nil", True, True]


def test_output_can_be_redirected_to_an_allowed_file(caged, tmp_path):
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    caged.run(f"io.output('{allowed}/o.txt') io.write('to file') io.close() io.output(io.stdout)")
    assert (allowed / "o.txt").read_text() == "to file"


# Modules -----------------------------------------------------------------------------------------


@pytest.mark.requirement("library.require.beside")
def test_modules_beside_the_script_and_on_the_path(folder, tmp_path, world):
    scripts = tmp_path / "scripts"
    (scripts / "lib" / "pack").mkdir(parents=True)
    (scripts / "helper.lua").write_text("local M = {} function M.f() return 'helped' end return M")
    (scripts / "lib" / "deep.lua").write_text("return {name = ...}")
    (scripts / "lib" / "pack" / "init.lua").write_text("return 'pack'")
    (folder / "here.lua").write_text("loads = (loads or 0) + 1")
    path = str(scripts / "main.lua")
    assert world.run(
        "package.path = package.path .. ';./lib/?.lua;./lib/?/init.lua'"
        " return {require('helper').f(), require('deep').name, require('pack'), require('here'),"
        " require('here'), loads, require('helper') == package.loaded.helper}",
        path=path,
    ) == ["helped", "deep", "pack", True, True, 1, True]
    assert world.run("return dofile('helper.lua').f()", path=path) == "helped"
    message = world.message("require('no.such')")
    assert "module 'no.such' not found" in message
    assert "no field package.preload['no.such']" in message
    assert "no file 'no/such.lua'" in message


def test_preloaded_and_shipped_modules(world):
    assert world.run(
        "package.preload.mine = function(name) return {n = name} end"
        " local json = require('json')"
        " return {require('mine').n, json.encode({1}), json.decode('[2]')[1],"
        " require('cjson').stringify({}), require('dkjson').parse('3'),"
        " require('string') == string}"
    ) == ["mine", "[1]", 2, "{}", 3, True]


def test_errors_in_modules_name_their_file(folder, world):
    (folder / "broken.lua").write_text("local x = = 1")
    (folder / "raising.lua").write_text("\nerror('inside')")
    (folder / "bytes.lua").write_bytes(b"\x1bLua")
    assert "error loading module 'broken' from file 'broken.lua'" in world.message(
        "require('broken')"
    )
    assert "broken.lua:1:" in world.message("require('broken')")
    assert "raising.lua:2: inside" in world.message("require('raising')")
    assert "compiled chunk is not a script" in world.message("dofile('bytes.lua')")
    assert "cannot open none.lua" in world.message("dofile('none.lua')")
    assert "must be a string" in world.message("dofile({})")


# Levels ------------------------------------------------------------------------------------------


@pytest.mark.requirement("library.levels")
@pytest.mark.parametrize(
    ("level", "present"),
    [
        ("None", []),
        ("Basic", ["math", "string", "table"]),
        ("Standard", ["debug", "io", "math", "os", "string", "table"]),
        ("All", ["debug", "io", "math", "os", "string", "table"]),
    ],
)
def test_the_standard_library_comes_in_levels(level, present):
    made = World({"engines": {"lua": {"stdlib": level}}})
    found = made.run(
        "local t = {} for _, n in ipairs({'io', 'os', 'string', 'table', 'math'}) do"
        " if _G[n] then t[#t + 1] = n end end if debug.getinfo then t[#t + 1] = 'debug' end"
        " return t"
    )
    assert sorted(found or []) == present
    assert made.run("return Probe.take_text('x')") == "x"
    made.close()


def test_an_unknown_level_is_a_configuration_error():
    from llmspell_core import ConfigurationError

    with pytest.raises(ConfigurationError, match="stdlib is 'Some'"):
        World({"engines": {"lua": {"stdlib": "Some"}}})


# The language ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        pytest.param("_VERSION", "Lua 5.4", marks=SYNTAX),
        pytest.param("7 // 2", 3, marks=SYNTAX),
        pytest.param("7 & 3 | 8 ~ 1", 11, marks=SYNTAX),
        pytest.param("1 << 62", 1 << 62, marks=SYNTAX),
        pytest.param("math.type(1) .. math.type(1.0)", "integerfloat", marks=DOUBLES),
        ("utf8.len('üü')", 2),
        ("#utf8.char(8364)", 3),
        ("select('#', unpack({1, 2, 3}))", 3),
        ("math.pow(2, 3)", 8.0),
        ("math.ldexp(0.5, 3)", 4.0),
        ("table.concat({math.frexp(10)}, ' ')", "0.625 4"),
        ("math.log10(1000) > 2.999", True),
        ("string.format('%.3f', math.tanh(0.5) + math.sinh(1) + math.cosh(1))", "3.180"),
        ("table.getn({1, 2})", 2),
        ("string.gfind('ab', '.')()", "a"),
        ("('x'):rep(3, '-')", "x-x-x"),
        ("('é').message", "é"),
        ("tostring(('x').nothing)", "nil"),
        ("table.concat({1, 2.5, 'x'}, ',')", "1,2.5,x"),
        ("table.concat({'a', 'b', 'c'}, '', 2, 3)", "bc"),
        ("(table.unpack({1, 2}, 2))", 2),
        ("table.pack(1, nil).n", 2),
        ("collectgarbage('count') > 0", True),
        ("(select(2, xpcall(error, function(e) return e .. '!' end, 'x')))", "x!"),
        ("xpcall(function(a) return a end, print, 7)", True),
        ("(select(2, xpcall(error, error, 'x')))", "x"),
        ("debug.traceback('m'):match('^m\\nstack traceback:') ~= nil", True),
        ("debug.getinfo(1, 'l').currentline", 1),
        ("(debug.getlocal(1, 1))", None),
    ],
)
def test_the_language_is_54_with_the_old_names(world, expression, value):
    assert world.run(f"return ({expression})") == value


def test_table_concat_refuses_what_has_no_text(world):
    assert "invalid value (table) at index 1" in world.message("table.concat({{}})")
    assert "table expected" in world.message("table.concat(5)")


def test_a_handler_sees_the_traceback_of_the_error(world):
    text = world.run(
        "local function inner() error('deep') end\n"
        "local function outer() inner() end\n"
        "return (select(2, xpcall(outer, debug.traceback)))"
    )
    assert text.startswith("t.lua:1: deep\nstack traceback:")
    assert "t.lua:2:" in text
    assert "[llmspell]" not in text
    text = world.run(
        "local function inner() error('deep') end\n"
        "return (select(2, xpcall(inner, function(e) return debug.traceback('H ' .. e) end)))"
    )
    assert text.startswith("H t.lua:1: deep\nstack traceback:")
    assert "t.lua:1:" in text.partition("traceback:")[2]


@SYNTAX
def test_goto_const_and_close_work(world):
    assert world.run(
        "local out = {} do local c <const> = 5"
        " local t <close> = setmetatable({}, {__close = function() out[#out + 1] = 'closed' end})"
        " for i = 1, 3 do if i == 2 then goto continue end out[#out + 1] = i * c ::continue:: end"
        " end return out"
    ) == [5, 15, "closed"]


@SYNTAX
def test_what_a_failed_script_left_open_is_closed(world):
    world.fails(
        "local t <close> = setmetatable({}, {__close = function(_, e) print('closed', e) end})"
        " error('x', 0)"
    )
    assert world.out == "closed\tx\n"


def test_a_script_error_is_a_script_error(world):
    assert isinstance(world.fails("error('x')"), ScriptError)
