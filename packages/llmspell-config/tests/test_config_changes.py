"""What scripts may change in the configuration, and that it takes effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell_config import load
from llmspell_core import ExecutionContext, HookOutcome, ScriptError, Services, Source
from llmspell_kernel import Kernel

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs scripts one after the other in one kernel that stands in a project of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path / "home"))
    opened: list[Kernel] = []

    def execute(code: str, permissions: str = "standard") -> Any:
        if not opened:
            settings = {
                "runtime.security.config_permissions": permissions,
                "tools.file_operations.allowed_paths": [str(tmp_path / "elsewhere")],
            }
            services = Services(load(use_files=False, overrides=settings))
            opened.append(Kernel(services, output=lambda *_: None))
        source = Source(code, "change.lua")
        return opened[0].execute(source).result(60).value

    yield execute  # type: ignore[misc]
    for kernel in opened:
        kernel.services.close()


def test_a_folder_of_the_project_is_opened_to_tools(run: Run, tmp_path: Path) -> None:
    write = (
        'return Tool.invoke("file_operations", {operation = "write", path = "out/a.txt",'
        ' content = "x"}).success'
    )
    (tmp_path / "out").mkdir()
    assert run(write) is False
    assert run('return Config.addAllowedPath("out")') is True
    assert run(write) is True
    assert run("return Config.getTools().file_operations.allowed_paths")[-1] == str(
        tmp_path / "out"
    )


@pytest.mark.parametrize(
    ("code", "permissions", "words"),
    [
        ('Config.setProvider("x", {})', "standard", "Cannot modify providers without permission"),
        ("Config.setSecurity({})", "standard", "Cannot modify security settings without permis"),
        ('Config.addAllowedPath("/etc")', "standard", "Cannot modify tools without permission"),
        ('Config.addAllowedPath("..")', "standard", "Cannot modify tools without permission"),
        ('Config.addAllowedPath("x")', "read_only", "Cannot modify tools without permission"),
        ("Config.restoreSnapshot(1)", "read_only", "Insufficient permissions to restore snapshot"),
        ("Config.restoreSnapshot(1)", "standard", "Snapshot not found: 1"),
        ('Config.addAllowedPath("")', "full", "cannot be empty"),
        (
            "Config.setSecurity({allow_file_access = true})",
            "full",
            "File access permission is boot-locked and cannot be changed",
        ),
        (
            "Config.setSecurity({allow_process_spawn = true})",
            "full",
            "Process spawn permission is boot-locked and cannot be changed",
        ),
        ("Config.setSecurity({max_memory_bytes = 2^31})", "full", "from 1 to 1073741824"),
        ("Config.setSecurity({max_execution_time_ms = 10})", "full", "at least 1000"),
        ("Config.setSecurity({surprise = 1})", "full", "no setting 'surprise'"),
        (
            'Config.setSecurity({config_permissions = "full"})',
            "full",
            "a script cannot change what it may change",
        ),
    ],
)
def test_what_is_not_allowed_is_refused_and_changes_nothing(
    run: Run, code: str, permissions: str, words: str
) -> None:
    before = run("return Config.toJson()", permissions)
    with pytest.raises(ScriptError, match=words):
        run(code)
    assert run("return Config.toJson()") == before


def test_a_changed_provider_is_the_one_that_is_asked(run: Run) -> None:
    setup = (
        'Config.setProvider("mine", {provider_type = "echo", default_model = "one",'
        ' api_key = "a-secret-key"})'
        ' return Agent.builder():name("first"):provider("mine"):build().model'
    )
    assert run(setup, "full") == "one"
    again = (
        'Config.setProvider("mine", {provider_type = "echo", default_model = "two"})'
        ' return Agent.builder():name("second"):provider("mine"):build().model'
    )
    assert run(again) == "two"


def test_limits_of_scripts_hold_from_the_next_execution_on(run: Run) -> None:
    run("Config.setSecurity({max_execution_time_ms = 1000})", "full")
    from llmspell_core import LLMTimeoutError

    with pytest.raises(LLMTimeoutError):
        run("while true do end")


def test_snapshots_bring_settings_back_and_the_last_ten_are_kept(run: Run) -> None:
    code = (
        "local first = Config.snapshot()"
        ' Config.setProvider("mine", {provider_type = "echo"})'
        " local changed = Config.getProvider('mine') ~= nil"
        " Config.restoreSnapshot(first)"
        " local numbers = {} for n = 1, 12 do numbers[n] = Config.snapshot() end"
        " return {changed, Config.getProvider('mine') == nil, #Config.listSnapshots(),"
        " Config.listSnapshots()[10] == numbers[12]}"
    )
    assert run(code, "full") == [True, True, 10, True]


async def test_changes_are_told_to_hooks_and_noted_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from llmspell_config._changes import ConfigChanges

    services = Services(
        load(use_files=False, overrides={"runtime.security.config_permissions": "full"})
    )
    seen: list[Any] = []

    async def hook(point: str, data: Any, context: ExecutionContext) -> HookOutcome | None:
        seen.append((point, dict(data)))
        return None

    services.hooks.register("ConfigurationChange", hook)
    changes = ConfigChanges(services)
    with caplog.at_level("INFO", logger="llmspell.audit"):
        await changes.set_provider(
            "mine", {"provider_type": "echo", "api_key": "a-secret-key"}, ExecutionContext(services)
        )
    shown = {"provider_type": "echo", "api_key": "<REDACTED>"}
    assert seen == [("ConfigurationChange", {"path": "providers.mine", "value": shown})]
    assert [(change.path, change.value) for change in changes.audit] == [("providers.mine", shown)]
    assert "a-secret-key" not in caplog.text
    await services.aclose()
