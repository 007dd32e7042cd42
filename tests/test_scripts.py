"""What scripts can do, through the installed command."""

from __future__ import annotations

import json

import pytest

from .conftest import User


def test_a_script_reads_what_lies_beside_it_from_anywhere(user: User) -> None:
    scripts = user.folder / "scripts"
    scripts.mkdir()
    elsewhere = user.folder / "elsewhere"
    elsewhere.mkdir()
    (scripts / "part.lua").write_text("return {greeting = 'from beside'}")
    (scripts / "facts.txt").write_text("facts")
    (scripts / "main.lua").write_text(
        "print(require('part').greeting)\n"
        "local here = debug.getinfo(1, 'S').source:match('^@?(.*/)')\n"
        "local file = assert(io.open(here .. 'facts.txt'))\n"
        "print(file:read('a'))\n"
    )
    done = user.run("run", "../scripts/main.lua", folder=elsewhere)
    assert (done.code, done.out) == (0, "from beside\nfacts\n"), done


@pytest.mark.requirement("engine.state.one_shot_is_fresh")
def test_each_command_begins_with_a_fresh_state(user: User) -> None:
    assert user.run("exec", "mine = 1; Utils.mine = 2; string.mine = 3").code == 0
    done = user.run("exec", "print(mine, Utils.mine, string.mine)")
    assert (done.code, done.out) == (0, "nil\tnil\tnil\n"), done


def test_a_script_writes_nothing_outside_the_allowed_paths(user: User) -> None:
    limits = f"[tools.file_operations]\nallowed_paths = ['{user.folder}/allowed']\n"
    (user.folder / "allowed").mkdir()
    (user.folder / "llmspell.toml").write_text(limits)
    done = user.run("exec", "print(io.open('out.txt', 'w'))")
    assert done.code == 0
    assert "Permission denied" in done.out
    assert not (user.folder / "out.txt").exists()

    assert user.run("exec", "io.open('allowed/out.txt', 'w'):write('x'):close()").code == 0

    opened = "[runtime.security]\nallow_file_access = true\n"
    (user.folder / "llmspell.toml").write_text(limits + opened)
    assert user.run("exec", "io.open('out.txt', 'w'):write('x'):close()").code == 0
    assert (user.folder / "out.txt").read_text() == "x"


@pytest.mark.requirement("result.command_fails")
@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        ("State.set('a\\nb', 1)", "control character"),
        ("Tool.invoke('calclator', {})", "Tool 'calclator' not found"),
        ("Tool.get('calculator'):execute({})", "Missing required parameter"),
        ("RAG.search('', {})", "query"),
        ("JSON.parse('{')", "JSON parse error"),
        ("State.increment('n', 'x')", "'amount' of State.increment must be an integer or a number"),
        ("Agent.builder():name('x'):build()", "odel"),
        ("Workflow.sequential({steps = {}})", "name"),
    ],
)
def test_a_raised_error_says_where_the_script_called(user: User, code: str, phrase: str) -> None:
    script = user.script(f"local a = 1\n{code}\n")
    done = user.run("run", script)
    assert done.code == 1
    assert "script.lua:2: " in done.err
    assert phrase in done.err


def test_a_returned_error_carries_what_to_try(user: User) -> None:
    script = user.script(
        "local agent = Agent.builder():name('a'):model('openai/m'):build()\n"
        "local reply, err = agent:execute('hello')\n"
        "print(reply, err)\n"
    )
    done = user.run("run", script)
    assert done.out.startswith("nil\tLLM provider error: OpenAI API key required")
    assert "OPENAI_API_KEY" in done.out


def test_values_survive_every_way_through_the_system(user: User) -> None:
    script = user.script(
        """
        local value = {int = 3, float = 2.0, text = 'é\\0x', list = {1, {a = true}}, no = false}
        State.set('v', value)
        local back = State.get('v')
        assert(math.type(back.int) == 'integer' and math.type(back.float) == 'float')
        assert(back.text == value.text and back.list[2].a == true and back.no == false)
        return JSON.parse(JSON.stringify(back))
        """
    )
    done = user.run("--output", "json", "run", script)
    assert done.code == 0, done.err
    printed = json.loads(json.loads(done.out)["result"])
    assert printed == {
        "int": 3,
        "float": 2.0,
        "text": "é\0x",
        "list": [1, {"a": True}],
        "no": False,
    }


def test_a_lua_function_is_a_tool_for_scripts_workflows_and_agents(user: User) -> None:
    script = user.script(
        """
        Tool.register({
          name = 'shout',
          description = 'Upper case',
          parameters = {{name = 'text', type = 'string', required = true}},
          execute = function(params) return params.text:upper() .. '!' end,
        })
        print(Tool.invoke('shout', {text = 'script'}).text)
        local flow = Workflow.parallel({
          name = 'p',
          steps = {
            {name = 'one', tool = 'shout', input = {text = 'workflow'}},
            {name = 'two', type = 'custom', execute = function(context)
              return Tool.invoke('shout', {text = 'nested'}).text
            end},
          },
        })
        local result = flow:execute({})
        print(result.outputs.one, result.outputs.two)
        local agent = Agent.builder():name('a'):model('echo/echo'):allow_tool('shout'):build()
        local reply = agent:execute('/tool shout {"text": "agent"}')
        print(reply.text, #reply.tool_calls)
        """
    )
    done = user.run("run", script)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["SCRIPT!", "WORKFLOW!\tNESTED!", "AGENT!\t1"]


def test_what_is_no_data_is_named_not_emptied(user: User) -> None:
    assert user.run("exec", "return io.stdout").out == "file (stdout)\n"
    refused = user.run("exec", "return pcall(JSON.stringify, {io.stdout})").out
    assert refused == "false\n"
    done = user.run("exec", "JSON.stringify({io.stdout})")
    assert "Unsupported Lua type for JSON conversion" in done.err


def test_a_tenant_sees_its_own_state_only(user: User) -> None:
    user.run("exec", "State.set('k', 'ours')", env={"LLMSPELL_TENANT_ID": "acme"})
    assert user.run("exec", "return State.get('k')").out == ""
    other = user.run("exec", "return State.get('k')", env={"LLMSPELL_TENANT_ID": "other"})
    assert other.out == ""
    own = user.run("exec", "return State.get('k')", env={"LLMSPELL_TENANT_ID": "acme"})
    assert own.out == "ours\n"


def test_both_spellings_and_both_calls_work(user: User) -> None:
    script = user.script(
        """
        local a, b = Tool.get('calculator'), Tool.calculator
        print(a:execute({input = '1+1'}).value, b.execute({input = '1+1'}).value)
        print(Tool:invoke('calculator', {input = '2+2'}).value)
        print(#a:getSchema().parameters == #a:get_schema().parameters)
        print(Provider.isAvailable('nope'), Provider.is_available('nope'))
        """
    )
    done = user.run("run", script)
    assert (done.code, done.out) == (0, "2\t2\n4\ntrue\nfalse\tfalse\n"), done


def test_the_python_example_answers_from_the_documents(user: User) -> None:
    import shutil
    import subprocess
    import sys

    from .conftest import PROJECT

    shutil.copytree(PROJECT / "docs", user.folder / "docs")
    done = subprocess.run(
        [sys.executable, PROJECT / "examples/python-developers/quickstart.py"],
        cwd=user.folder,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Source: docs/" in done.stdout


def test_a_tenant_finds_its_own_documents_only(user: User) -> None:
    ours, theirs = {"LLMSPELL_TENANT_ID": "acme"}, {"LLMSPELL_TENANT_ID": "other"}
    stored = user.run("exec", "RAG.ingest({text = 'the blue whale', id = 'w'})", env=ours)
    assert stored.code == 0, stored.err
    search = "local r = RAG.search('blue whale') return #r"

    assert user.run("exec", search, env=ours).out == "1\n"
    assert user.run("exec", search, env=theirs).out == "0\n"
    assert user.run("exec", search).out == "0\n"
