"""Contexts, deadlines, cancellation; operations; settings; lazy names."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

import llmspell_core
from llmspell_core import (
    CancelSignal,
    Config,
    ConfigurationError,
    Deadline,
    ExecutionCancelled,
    LLMTimeoutError,
    NotFoundError,
    Operation,
    OperationParameter,
    Operations,
    Plugin,
    PluginError,
    PluginIndex,
    Services,
    ValidationError,
    data_directory,
    operation,
    setting,
)
from llmspell_testing import make_context

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


def test_a_child_inherits_what_it_is_not_given() -> None:
    parent = make_context(
        tenant="acme",
        session_id="s",
        user_id="u",
        conversation_id="c",
        correlation_id="k",
        deadline=Deadline(100),
        data={"a": 1},
    )
    child = parent.child()
    for name in ("services", "effects", "execution_id", "correlation_id", "tenant", "session_id"):
        assert getattr(child, name) is getattr(parent, name)
    for name in ("user_id", "conversation_id", "deadline", "cancel", "path"):
        assert getattr(child, name) is getattr(parent, name)
    assert (parent.depth, child.depth, child.child().depth) == (0, 1, 2)


def test_a_childs_data_is_its_own() -> None:
    parent = make_context(data={"a": 1, "b": 1})
    child = parent.child(data={"b": 2})
    assert child.data == {"a": 1, "b": 2}
    child.data["c"] = 3
    assert parent.data == {"a": 1, "b": 1}


def test_a_childs_deadline_never_lies_behind_its_parents() -> None:
    parent = make_context(deadline=Deadline(10))
    sooner, later = Deadline(5), Deadline(20)
    assert parent.child(deadline=sooner).deadline is sooner
    assert parent.child(deadline=later).deadline is parent.deadline
    assert parent.child(deadline=Deadline(None)).deadline is parent.deadline
    assert make_context().child(deadline=later).deadline is later


def test_contexts_have_ids_of_their_own() -> None:
    one, two = make_context(), make_context()
    assert one.execution_id != two.execution_id
    assert one.correlation_id == one.execution_id
    assert re.fullmatch(
        r"x-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one.new_id("x-")
    )
    assert len({one.new_id() for _ in range(1000)}) == 1000


def test_clocks_and_environment(monkeypatch) -> None:
    context = make_context()
    before = time.time()
    assert before <= context.now() <= time.time()
    assert context.monotonic() <= context.monotonic()
    monkeypatch.setenv("LLMSPELL_TEST_VARIABLE", "x")
    assert context.environ("LLMSPELL_TEST_VARIABLE") == "x"
    assert context.environ("LLMSPELL_TEST_NO_SUCH_VARIABLE") is None


def test_check_raises_when_the_execution_must_stop() -> None:
    make_context(deadline=Deadline(100)).check()
    with pytest.raises(LLMTimeoutError, match=r"execution timed out after 0s") as late:
        make_context(deadline=Deadline(0)).check()
    assert (late.value.duration_ms, late.value.operation) == (0, "execution")
    cancelled = make_context(deadline=Deadline(0))
    cancelled.cancel.cancel("user said so")
    with pytest.raises(ExecutionCancelled) as stopped:
        cancelled.check()
    assert stopped.value.reason == "user said so"


def test_deadlines() -> None:
    never, soon, gone = Deadline(None), Deadline(100), Deadline(0)
    assert (never.remaining(), never.passed, never.at) == (None, False, None)
    remaining = soon.remaining()
    assert remaining is not None
    assert 99 < remaining <= 100
    assert (gone.remaining(), gone.passed) == (0.0, True)


def test_a_signal_turns_once_and_tells_everyone() -> None:
    signal = CancelSignal()
    told: list[str] = []
    signal.subscribe(lambda reason: told.append(f"one {reason}"))
    drop = signal.subscribe(lambda reason: told.append(f"two {reason}"))
    same = told.append
    signal.subscribe(same)
    signal.subscribe(same)
    drop()
    drop()
    assert signal.reason is None
    signal.cancel("first")
    signal.cancel("second")
    assert (signal.reason, told) == ("first", ["one first", "first", "first"])
    signal.subscribe(told.append)()
    assert told[-1] == "first"


def test_a_failing_subscriber_does_not_keep_it_from_the_others() -> None:
    signal = CancelSignal()
    told: list[str] = []

    def fail(reason: str) -> None:
        raise ZeroDivisionError

    signal.subscribe(fail)
    signal.subscribe(told.append)
    with pytest.raises(ZeroDivisionError):
        signal.cancel("stop")
    assert told == ["stop"]


def test_children_follow_their_parent_and_not_the_other_way() -> None:
    parent = CancelSignal()
    child, other, detached = CancelSignal(parent), CancelSignal(parent), CancelSignal(parent)
    detached.detach()
    child.cancel("child only")
    assert (parent.reason, other.reason) == (None, None)
    parent.cancel("all")
    assert (child.reason, other.reason, detached.reason) == ("child only", "all", None)
    assert CancelSignal(parent).reason == "all"
    CancelSignal().detach()


def test_a_signal_may_be_turned_by_many_threads() -> None:
    signal = CancelSignal()
    told: list[str] = []
    signal.subscribe(told.append)
    threads = [threading.Thread(target=signal.cancel, args=(str(n),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert told == [signal.reason]


# -- operations -----------------------------------------------------------------------------------


@operation("test.everything")
async def everything(
    services: "Services",
    context: "ExecutionContext",
    *,
    text: str,
    number: float = 1.0,
    count: int | None = None,
    flag: bool = False,
    names: list[str] | None = None,
    many: Sequence[int] = (),
    table: dict[str, Any] | None = None,
    mode: Literal["fast", "slow"] = "fast",
    anything: Any = None,
    untyped=None,
):
    """Return what it was given.

    More about it.
    """
    return {
        "text": text,
        "number": number,
        "count": count,
        "flag": flag,
        "names": names,
        "many": list(many),
        "table": table,
        "mode": mode,
        "anything": anything,
        "untyped": untyped,
        "services": services is context.services,
    }


@operation("test.bare")
async def bare(services, context):
    return "bare"


@pytest.fixture
def services(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    return Services(
        plugins=PluginIndex(
            [
                Plugin(
                    "llmspell.operations", "test.everything", f"{__name__}:everything", "t", "1"
                ),
                Plugin("llmspell.operations", "test.bare", f"{__name__}:bare", "t", "1"),
                Plugin("llmspell.operations", "test.twice", f"{__name__}:bare", "one", "1"),
                Plugin("llmspell.operations", "test.twice", f"{__name__}:bare", "two", "1"),
            ]
        )
    )


async def test_an_operation_is_called_with_checked_parameters(services) -> None:
    table = Operations(services)
    assert table.names() == ["test.bare", "test.everything", "test.twice"]
    assert table.get("test.everything").summary == "Return what it was given."
    assert await table.call("test.bare", {}, make_context(services)) == "bare"
    given = {
        "text": "x",
        "number": 2,
        "count": 3,
        "flag": True,
        "names": ["a"],
        "many": [1, 2],
        "table": {"a": 1},
        "mode": "slow",
        "anything": object,
        "untyped": 1,
    }
    result = await table.call("test.everything", given, make_context(services))
    assert result == {**given, "services": True}
    defaults = await table.call("test.everything", {"text": ""}, make_context(services))
    assert defaults["mode"] == "fast"


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({}, "text", "Missing required parameter 'text' of test.everything"),
        ({"text": 1}, "text", "expected str, got int"),
        ({"text": None}, "text", "expected str, got NoneType"),
        ({"text": "x", "number": "1"}, "number", "expected float, got str"),
        ({"text": "x", "number": True}, "number", "expected float, got bool"),
        ({"text": "x", "count": 1.5}, "count", "got float"),
        ({"text": "x", "count": False}, "count", "got bool"),
        ({"text": "x", "flag": 1}, "flag", "expected bool, got int"),
        ({"text": "x", "names": "abc"}, "names", "got str"),
        ({"text": "x", "names": [1]}, "names", "got list"),
        ({"text": "x", "many": "123"}, "many", "got str"),
        ({"text": "x", "many": ["a"]}, "many", "got list"),
        ({"text": "x", "table": []}, "table", "got list"),
        ({"text": "x", "mode": "medium"}, "mode", "got str"),
        ({"text": "x", "txet": 1}, "txet", "has no parameter 'txet'"),
        ({"text": "x", "services": 1}, "services", "has no parameter 'services'"),
    ],
)
async def test_wrong_parameters_are_named(services, params, field, words) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)) as caught:
        await Operations(services).call("test.everything", params, make_context(services))
    assert caught.value.field == field


async def test_a_misspelt_parameter_or_operation_gets_a_suggestion(services) -> None:
    table, context = Operations(services), make_context(services)
    with pytest.raises(ValidationError) as close:
        await table.call("test.everything", {"nmuber": 1}, context)
    assert close.value.hint == "Did you mean 'number'?"
    with pytest.raises(ValidationError) as far:
        await table.call("test.bare", {"zzz": 1}, context)
    assert far.value.hint == "It takes: "
    with pytest.raises(NotFoundError, match=r"operation 'test\.evrything' not found") as name:
        await table.call("test.evrything", {}, context)
    assert name.value.hint == "Did you mean 'test.everything'?"
    with pytest.raises(PluginError, match="one 1 and two 1"):
        table.get("test.twice")


def test_an_operation_describes_its_parameters() -> None:
    assert isinstance(everything, Operation)
    parameters = everything.parameters()
    assert parameters[:3] == (
        OperationParameter("text", str, True, None),
        OperationParameter("number", float, False, 1.0),
        OperationParameter("count", int | None, False, None),
    )
    assert [p.name for p in parameters][-1] == "untyped"
    assert parameters[-1].type is Any
    assert bare.parameters() == ()


# -- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chunking:
    size: int = setting(512, help="Tokens", aliases=("chunk_size",), above_zero=True)


@dataclass(frozen=True, slots=True)
class Rag:
    enabled: bool = setting(True)
    names: tuple[str, ...] = setting(factory=tuple)
    chunking: Chunking = setting(factory=Chunking)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Needed:
    url: str = setting(help="Where")


def test_settings_are_read_by_path() -> None:
    config = Config({"a": {"b": {"c": 1}, "none": None}, "list": [1]})
    assert config.get("a.b.c") == 1
    assert config.get("a.b") == {"c": 1}
    assert config.get("a.none", "default") is None
    for path in ("a.x", "a.b.c.d", "x", "list.0", ""):
        assert config.get(path, "default") == "default"
    assert config.values == {"a": {"b": {"c": 1}, "none": None}, "list": [1]}
    assert Config().values == {}


def test_a_section_is_built_once_from_what_was_set() -> None:
    config = Config({"rag": {"enabled": False}, "ready": Rag(names=("x",))})
    section = config.section("rag", Rag)
    assert section == Rag(enabled=False)
    assert config.section("rag", Rag) is section
    assert config.section("other", Rag) == Rag()
    assert config.section("ready", Rag) == Rag(names=("x",))
    assert Config({"deep": {"rag": {"enabled": False}}}).section("deep.rag", Rag).enabled is False


def test_a_key_nobody_knows_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key 'rag\.enabeld'") as caught:
        Config({"rag": {"enabeld": True}}).section("rag", Rag)
    assert caught.value.hint == "Did you mean 'rag.enabled'?"
    with pytest.raises(ConfigurationError) as far:
        Config({"rag": {"zzz": True}}).section("rag", Rag)
    assert far.value.hint == "Known: enabled, names, chunking"


def test_a_section_must_be_a_table() -> None:
    with pytest.raises(ConfigurationError, match="'rag' must be a table, not int") as caught:
        Config({"rag": 3}).section("rag", Rag)
    assert caught.value.hint == "Write it as [rag] with keys below it."


def test_a_builder_of_ones_own_gets_name_class_and_values() -> None:
    asked = []

    def build(name, cls, values):
        asked.append((name, cls, dict(values)))
        return cls(enabled=False)

    config = Config({"rag": {"anything": 1}}, build=build)
    assert config.section("rag", Rag) == Rag(enabled=False)
    assert asked == [("rag", Rag, {"anything": 1})]


def test_a_setting_describes_itself() -> None:
    fields = Chunking.__dataclass_fields__
    assert fields["size"].metadata == {
        "help": "Tokens",
        "aliases": ("chunk_size",),
        "env": (),
        "unit": "",
        "sensitive": False,
        "above_zero": True,
    }
    with pytest.raises(TypeError):
        Needed()  # type: ignore[call-arg]
    assert Needed("x").url == "x"


def test_data_lives_beside_the_nearest_project_file(tmp_path, monkeypatch) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    home.mkdir()
    monkeypatch.delenv("LLMSPELL_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(inner)
    assert data_directory() == str(home / ".llmspell")
    (project / "llmspell.toml").write_text("")
    assert data_directory() == str(project / ".llmspell")
    assert Config().home == str(project / ".llmspell")
    other = tmp_path / "other" / "llmspell.toml"
    assert data_directory(str(other)) == str(tmp_path / "other" / ".llmspell")
    assert data_directory("/etc/llmspell/config.toml") == str(project / ".llmspell")
    monkeypatch.setenv("LLMSPELL_HOME", "~/elsewhere")
    assert data_directory(str(other)) == str(home / "elsewhere")
    assert Config(home="/given").home == "/given"
    assert not (project / ".llmspell").exists()


# -- lazy names -----------------------------------------------------------------------------------


def test_every_public_name_exists_and_is_listed() -> None:
    assert sorted(llmspell_core.__all__) == sorted(set(llmspell_core.__all__))
    for name in llmspell_core.__all__:
        assert getattr(llmspell_core, name) is not None
    assert set(llmspell_core.__all__) <= set(dir(llmspell_core))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = llmspell_core.nothing


def test_type_checkers_see_the_names_that_there_are() -> None:
    from pathlib import Path

    text = Path(llmspell_core.__file__).read_text()
    block = text[text.index("if TYPE_CHECKING:") : text.index("__all__")]
    seen = set(re.findall(r"^        (\w+)(?: as \w+)?,$", block, re.MULTILINE))
    seen |= set(re.findall(r"import (\w+)$", block, re.MULTILINE))
    assert seen | {"lazy_exports"} == set(llmspell_core.__all__)


def modules_after(code: str) -> set[str]:
    script = (
        f"import sys\nbefore = set(sys.modules)\n{code}\n"
        "loaded = sorted(set(sys.modules) - before)\nimport json\nprint(json.dumps(loaded))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


HEAVY = {
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "http",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "socket",
    "sqlite3",
    "ssl",
    "tempfile",
    "typing",
    "urllib",
    "uuid",
}


def test_importing_core_costs_next_to_nothing() -> None:
    loaded = modules_after("import llmspell_core")
    assert loaded & HEAVY == set()
    assert [name for name in loaded if name.startswith("llmspell_core.")] == ["llmspell_core._lazy"]


def test_a_kernel_without_async_work_never_imports_asyncio() -> None:
    loaded = modules_after(
        "from llmspell_core import Services, ExecutionContext\n"
        "services = Services({'a': 1})\n"
        "context = ExecutionContext(services)\n"
        "context.now(); context.new_id(); services.plugins.names('llmspell.tools')\n"
        "services.close()"
    )
    assert loaded & {"asyncio", "logging", "sqlite3", "importlib.metadata", "uuid", "ssl"} == set()


def test_core_needs_the_standard_library_alone() -> None:
    loaded = modules_after(
        "import llmspell_core\nfor n in llmspell_core.__all__: getattr(llmspell_core, n)"
    )
    tops = {name.partition(".")[0] for name in loaded}
    assert tops - set(sys.stdlib_module_names) == {"llmspell_core"}
