"""The installed engines keep the contract of script engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmspell_core import Config, ExecutionContext, ScriptEngine, Services
from llmspell_testing.suites import Programs, ScriptEngineSuite

LUA = Programs(
    returns_42="return 6 * 7",
    expression_42="6 * 7",
    returns_table='return {a = {1, 2}, b = "x"}',
    prints_two_lines='print("one")\nprint("two")',
    remembers="remembered = 7",
    recalls="return remembered",
    fails_on_line_3='local a = 1\nlocal b = 2\nerror("went wrong")\n',
    syntax_error="local a = = 1",
    endless='print("begun")\nwhile true do end',
    endless_protected='print("begun")\nwhile true do pcall(function() while true do end end) end',
    exits_3="os.exit(3)",
    returns_argument="return ARGS.name",
    incomplete="if x then",
    begins=("local x = tostr", "tostring"),
    begins_remembered=("print(rememb", "remembered"),
)


class TestLua(ScriptEngineSuite):
    name = "lua"

    @pytest.fixture
    def services(self, tmp_path) -> Iterator[Services]:
        made = Services(Config(home=str(tmp_path / "home")))
        yield made
        made.close()

    @pytest.fixture
    def engine(self, services: Services) -> ScriptEngine:
        return services.plugins.load("llmspell.engines", self.name)(services)

    @pytest.fixture
    def programs(self) -> Programs:
        return LUA

    @pytest.fixture
    def context(self, services: Services) -> ExecutionContext:
        return ExecutionContext(services)


class TestLuaJIT(TestLua):
    name = "luajit"
