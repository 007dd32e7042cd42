"""The kernel's operations, called as commands and protocols call them."""

import os
import time

import pytest

from kernel_testkit import Given, make_kernel_services
from llmspell_core import (
    Config,
    EffectClass,
    ExecutionContext,
    NotFoundError,
    Operations,
    Plugin,
    PluginIndex,
    Recording,
    RunRecord,
    RunStatus,
    Services,
    ValidationError,
)

NAMES = [
    *("plugin.list", "run.erase", "run.list", "run.prune", "run.show"),
    *("state.clear", "state.delete", "state.export", "state.get", "state.import", "state.list"),
    "state.set",
]


@pytest.fixture
def call(home):
    services = make_kernel_services(home)
    installed = PluginIndex()
    plugins = [*services.plugins.all()]
    plugins += [p for p in installed.all() if p.distribution == "llmspell-kernel"]
    unique = {(p.group, p.name): p for p in plugins}
    services = Services(services.config, plugins=PluginIndex(unique.values()))
    operations = Operations(services)

    async def called(name, **params):
        return await operations.call(name, params, ExecutionContext(services))

    called.services = services
    yield called
    services.close()


async def record(services, run_id, *, started_at=1.0, pid=None, close=True):
    ledger = services.ledger
    ledger.open_run(RunRecord(run_id, "s.lua", started_at, pid=pid))
    context = ExecutionContext(services, effects=Recording(ledger, run_id))

    async def answer(_):
        return {"said": "hi"}

    async def fail(_):
        raise ValueError("no")

    await context.effect("ask", {"q": 1}, answer, effect_class=EffectClass.PURE)
    with pytest.raises(ValueError, match="no"):
        await context.effect("ask", {"q": 2}, fail, effect_class=EffectClass.IRREVERSIBLE)
    if close:
        ledger.close_run(run_id, RunStatus.COMPLETED, finished_at=started_at + 1)


def test_every_operation_is_installed_under_its_name():
    services = Services()
    operations = Operations(services)
    assert [n for n in operations.names() if n.split(".")[0] in ("run", "plugin", "state")] == NAMES
    for name in NAMES:
        found = operations.get(name)
        assert found.name == name
        assert found.summary.endswith(".")
        assert found.parameters()


async def test_runs_are_listed(call, home):
    assert await call("run.list") == []
    assert not home.exists()
    await record(call.services, "a", started_at=1.0)
    await record(call.services, "b", started_at=2.0, pid=2**22 + 1, close=False)
    await record(call.services, "c", started_at=3.0, pid=os.getpid(), close=False)
    found = await call("run.list")
    assert [(r["run_id"], r["status"], r["effects"]) for r in found] == [
        ("c", "running", 2),
        ("b", "killed", 2),
        ("a", "completed", 2),
    ]
    assert found[2] == {
        **{"run_id": "a", "script": "s.lua", "status": "completed", "started_at": 1.0},
        **{"finished_at": 2.0, "error": None, "pid": None, "effects": 2, "tokens": 0, "cost": None},
    }
    assert [r["run_id"] for r in await call("run.list", limit=1)] == ["c"]
    with pytest.raises(ValidationError, match="limit must be at least 1"):
        await call("run.list", limit=0)


async def test_a_run_is_shown_with_its_effects(call):
    await record(call.services, "abc")
    shown = await call("run.show", run="ab")
    assert shown["run_id"] == "abc"
    rows = [{**effect, "started_at": 0, "duration_ms": 0} for effect in shown["effect_list"]]
    common = {"path": "", "kind": "ask", "started_at": 0, "duration_ms": 0}
    assert rows == [
        {
            **common,
            **{"sequence": 1, "effect_class": "pure", "status": "ok", "tokens": None},
            **{"cost": None, "request": {"q": 1}, "outcome": {"said": "hi"}},
        },
        {
            **common,
            **{"sequence": 2, "effect_class": "irreversible", "status": "failed", "tokens": None},
            "cost": None,
            "request": {"q": 2},
            "outcome": {
                "error": {"class": "ValueError", "details": {}, "state": {"message": "no"}}
            },
        },
    ]
    bare = await call("run.show", run="abc", payloads=False)
    assert all("request" not in effect for effect in bare["effect_list"])
    with pytest.raises(NotFoundError, match="run 'zzz' not found"):
        await call("run.show", run="zzz")


async def test_erasing_and_pruning(call):
    now = time.time()
    for number in range(4):
        await record(call.services, f"r{number}", started_at=now - number * 86_400)
    assert await call("run.erase", run="r0") == {"run_id": "r0", "erased": 4}
    shown = await call("run.show", run="r0")
    assert {(e["request"], e["outcome"]) for e in shown["effect_list"]} == {(None, None)}
    with pytest.raises(NotFoundError):
        await call("run.erase", run="zzz")
    with pytest.raises(ValidationError, match="say which runs to prune"):
        await call("run.prune")
    assert await call("run.prune", older_than_days=2.5) == {"pruned": 1}
    assert await call("run.prune", keep=2) == {"pruned": 1}
    assert [r["run_id"] for r in await call("run.list")] == ["r0", "r1"]


async def test_plugins_are_listed_with_what_is_wrong_with_them(home):
    kernel = next(p for p in PluginIndex().all() if p.name == "plugin.list")
    index = PluginIndex(
        [
            kernel,
            Plugin("llmspell.tools", "hammer", "nowhere:Hammer", "tools-a", "1.0"),
            Plugin("llmspell.tools", "saw", "math:pi", "tools-a", "1.0"),
            Plugin("llmspell.tools", "saw", "math:e", "tools-b", "2.0"),
        ]
    )
    services = Services(Config(home=str(home)), plugins=index)
    context = ExecutionContext(services)
    found = await Operations(services).call("plugin.list", {"group": "tools"}, context)
    saw = {"group": "llmspell.tools", "name": "saw", "duplicate": True}
    assert found == [
        {
            **{"group": "llmspell.tools", "name": "hammer", "value": "nowhere:Hammer"},
            **{"distribution": "tools-a", "version": "1.0", "duplicate": False},
        },
        {**saw, "value": "math:pi", "distribution": "tools-a", "version": "1.0"},
        {**saw, "value": "math:e", "distribution": "tools-b", "version": "2.0"},
    ]
    checked = await Operations(services).call("plugin.list", {"check": True}, context)
    errors = {(p["name"], p["distribution"]): p["error"] for p in checked}
    assert errors.pop(("hammer", "tools-a")).startswith(
        "plugin 'hammer' (llmspell.tools) of tools-a 1.0 cannot be loaded: ModuleNotFoundError"
    )
    assert set(errors.values()) == {None}
    assert len(errors) == 3
    with pytest.raises(ValidationError, match="unknown plugin group 'nails'"):
        await Operations(services).call("plugin.list", {"group": "nails"}, context)


async def test_state_is_the_state_that_scripts_see(call):
    context = ExecutionContext(call.services)
    assert await call("state.set", key="k", value={"a": [1]}) == {
        "key": "k",
        "value": {"a": [1]},
        "scope": "global",
    }
    assert await call.services.state.get("global", "k", context) == {"a": [1]}
    await call("state.set", key="workflow:w:s", value=1)
    await call("state.set", key="x", value=2, scope="workflow")
    await call("state.set", key="s", value=3, scope="user:1")
    await call("state.set", key="s", value=4, scope="mine")
    assert await call("state.get", key="workflow:w:s") == {
        "key": "w:s",
        "value": 1,
        "scope": "workflow",
    }
    assert (await call("state.get", key="s", scope="user:1"))["value"] == 3
    assert await call("state.list") == {
        "scopes": {"global": ["k"], "mine": ["s"], "user:1": ["s"], "workflow": ["w:s", "x"]}
    }
    assert await call("state.list", scope="workflow", prefix="w", values=True) == {
        "scopes": {"workflow": {"w:s": 1}}
    }
    assert await call("state.delete", key="k") == {"key": "k", "deleted": True, "scope": "global"}
    assert (await call("state.delete", key="k"))["deleted"] is False
    with pytest.raises(NotFoundError, match="Key 'k' not found"):
        await call("state.get", key="k")
    with pytest.raises(ValidationError, match="Missing required parameter 'key'"):
        await call("state.get")
    assert Given("g", "n", "v", "d", "1").name == "n"
