"""What is declared is documented: in the faces themselves, in the reference, in definitions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell_core import GlobalDescription, ObjectDescription, PluginIndex, describe_globals

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {folder.name for folder in (ROOT / "packages").iterdir()}
GLOBALS = [each for each in describe_globals(PluginIndex()) if each.distribution in PACKAGES]


def objects(described: GlobalDescription) -> list[ObjectDescription]:
    return [described.object, *described.handles]


@pytest.mark.parametrize("described", GLOBALS, ids=lambda each: each.name)
def test_every_member_has_a_first_sentence(described: GlobalDescription) -> None:
    assert described.error == ""
    silent = [each.name for each in objects(described) if not each.summary]
    silent += [
        f"{each.name}.{member.name}"
        for each in objects(described)
        for member in each.members
        if not re.match(r"[A-Z`*].*[.;:]?$", member.summary)
    ]
    assert silent == []


@pytest.mark.parametrize("described", GLOBALS, ids=lambda each: each.name)
def test_every_parameter_has_a_type(described: GlobalDescription) -> None:
    from llmspell_core import PluginIndex as Index
    from llmspell_core import declared_members

    index = Index()
    untyped = []
    for name in (described.name, *described.aliases):
        cls = index.load("llmspell.globals", name)
        for member in declared_members(cls):
            annotations = member.function.__annotations__
            code = member.function.__code__
            names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            untyped += [f"{member.key}.{each}" for each in names if each not in annotations]
            if "return" not in annotations:
                untyped.append(f"{member.key} returns")
    assert untyped == []


def test_every_documented_parameter_exists() -> None:
    """A section ``Args:`` that names what is not there is a leftover."""
    from llmspell_core import declared_members
    from llmspell_core._docstrings import read_docstring

    index, odd = PluginIndex(), []
    for described in GLOBALS:
        for member in declared_members(index.load("llmspell.globals", described.name)):
            code = member.function.__code__
            known = {name.rstrip("_") for name in code.co_varnames}
            documented = read_docstring(member.function.__doc__).arguments
            odd += [f"{described.name}.{member.key}: {n}" for n in documented if n not in known]
    assert odd == []


def test_the_reference_is_what_the_declarations_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_api_reference.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


# The command -----------------------------------------------------------------------------------


def test_the_command_lists_every_global(user) -> None:
    done = user.run("api")
    assert (done.code, done.err) == (0, "")
    listed = [line.partition("  ")[0] for line in done.out.splitlines()[1:] if "  " in line]
    assert [name for each in GLOBALS for name in [", ".join((each.name, *each.aliases))]] == [
        name for name in listed if name.split(",")[0] in {each.name for each in GLOBALS}
    ]
    assert re.search(r"^Tool, Tools +llmspell-tools +Find, run and register tools", done.out, re.M)
    # A third party's stands beside them.
    assert re.search(r"^Sample +llmspell-sample-plugin", done.out, re.M)


def test_the_command_shows_members_of_globals_and_of_handles(user) -> None:
    shown = user.run("api", "Debug.timer").out
    assert shown == (
        "Debug.timer(name: string): Timer\n\n  Start a timer.\n\n"
        "  Parameters:\n    name: What the reports call it.\n"
    )
    assert user.run("api", "Timer:lap").out.startswith("Timer:lap(name: string): boolean\n")
    assert user.run("api", "Agent:execute").out.startswith("Agent:execute(")
    assert user.run("api", "Agent.builder").out.startswith("Agent.builder(): AgentBuilder\n")
    assert user.run("api", "string.rep").out.startswith("string.rep(s: string, n: integer")
    assert "Sample.stopwatch(name?: string): Stopwatch" in user.run("api", "Sample").out
    # A twin by its own name, a name by another spelling.
    assert user.run("api", "Tools.executeAsync").out.startswith("Tool.invoke_async(name: string")
    assert user.run("api", "Debug.addModuleFilter").out.startswith("Debug.add_module_filter(")


def test_the_command_hints_at_the_nearest_name(user) -> None:
    done = user.run("api", "Agent.bilder")
    assert done.code == 1
    assert "scripts know no 'Agent.bilder'" in done.err
    assert "Did you mean 'Agent.builder'?" in done.err
    for name in ("qqqqqqqq", "", ".", "Agent.", "Agent.builder.more"):
        assert user.run("api", name).code == 1, name


def test_the_command_tells_of_broken_globals_and_shows_the_others(user) -> None:
    folder = user.folder / "site"
    info = folder / "acme_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(
        "[llmspell.globals]\nBroken = not_there:X\nJSON = not_there:Y\n"
    )
    env = {"PYTHONPATH": str(folder)}
    listed = user.run("api", env=env).out
    assert "of acme-broken 1.0 cannot be loaded: ModuleNotFoundError" in listed
    assert (
        "'JSON' (llmspell.globals) is registered by acme-broken 1.0 and llmspell-bridge" in listed
    )
    assert "broken: plugin 'Broken'" in user.run("api", "Broken.anything", env=env).out
    assert user.run("api", "Debug.timer", env=env).code == 0
    assert "Broken" not in user.run("api", "--luacats", env=env).out


def test_the_command_gives_json(user) -> None:
    import json

    (found,) = json.loads(user.run("api", "Debug.timer", "--json").out)
    assert found["signatures"] == ["Debug.timer(name: string): Timer"]
    assert found["description"]["parameters"][0]["name"] == "name"
    everything = json.loads(user.run("--output", "json", "api").out)
    assert {each.name for each in GLOBALS} <= {each["name"] for each in everything}


def test_the_command_writes_definitions_that_lua_reads(user) -> None:
    done = user.run("api", "--luacats")
    assert (done.code, done.err) == (0, "")
    (user.folder / "definitions.lua").write_text(done.out, encoding="utf-8")
    checked = user.run(
        "exec",
        'Agent = nil; dofile("definitions.lua"); return type(Agent.builder) .. type(Tools.invoke)',
    )
    assert (checked.code, checked.out) == (0, "functionfunction\n"), checked.err
    assert user.run("api", "--luacats", "Agent").code == 2


def test_the_command_opens_no_kernel_and_no_heavy_library(user) -> None:
    code = (
        "import sys; sys.argv = ['llmspell', 'api', 'Debug.timer']\n"
        "from llmspell_cli._main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'lupa', 'numpy', 'httpx', 'sqlalchemy', 'pydantic', 'rich', 'sqlite3',"
        " 'llmspell_kernel._kernel', 'llmspell_agents._face'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=user.folder,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_tool_and_tools_are_one(user) -> None:
    script = user.script(
        "assert(Tool == Tools)\n"
        "Tools.register('double', function(p) return { n = p.n * 2 } end)\n"
        "print(Tool.invoke('double', { n = 21 }).n)\n"
        "local r, e = Tool.executeAsync('no_such_tool', {}):await()\n"
        "print(r.success, r.error, e)\n"
        "print(Tools.executeAsync(nil).error)\n"
        "print(tostring(Tool.calculator), tostring(Agent.builder()))\n"
    )
    done = user.run("run", script)
    assert done.out == (
        "42\n"
        "false\tTool not found: no_such_tool\tTool not found: no_such_tool\n"
        "Validation error: Missing required parameter 'name' of Tool.invoke_async\n"
        "Tool(calculator)\tAgentBuilder(1)\n"
    ), done.err
