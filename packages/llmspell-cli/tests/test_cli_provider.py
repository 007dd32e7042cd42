"""`llmspell provider` and what `config` says of providers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_terminal import clean_environment
from llmspell_core import Usage
from llmspell_testing import Fault, ModelServer, Reply

pytestmark = pytest.mark.slow


class Shell:
    """The command in a directory, with a server behind the provider `acme`."""

    def __init__(self, folder: Path, server: ModelServer) -> None:
        self._folder = folder
        self._environment = clean_environment(folder)
        (folder / "llmspell.toml").write_text(
            f"[providers.acme]\nprovider_type = 'openai'\nbase_url = '{server.base_url}'\n"
            f"api_key = '{server.key}'\ndefault_model = 'm-1'\nmax_retries = 0\n"
            "[providers.acme.pricing]\n'm-1' = { input = 0.001, output = 0.002 }\n"
        )

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "llmspell", *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done


def test_providers_are_listed_and_described(tmp_path: Path) -> None:
    with ModelServer("openai", models=("m-1", "m-2")) as server:
        shell = Shell(tmp_path, server)
        table = shell("providers").stdout
        assert table.split() == [
            *("NAME", "TYPE", "ENABLED", "MODEL", "KEY"),
            *("acme", "openai", "yes", "m-1", "yes"),
        ]
        assert shell("providers", "list").stdout == shell("provider", "list").stdout == table
        (row,) = json.loads(shell("provider", "list", "--json").stdout)
        assert (row["name"], row["key"], row["circuit"]) == ("acme", "present", "closed")
        assert "ANTHROPIC_API_KEY" in shell("provider", "list", "--types").stdout
        info = shell("provider", "info", "acme").stdout
        assert "Price          $1 in, $2 out for a million tokens\n" in info
        assert "Circuit        closed\n" in info
        assert json.loads(shell("provider", "info", "acme", "--json").stdout)["name"] == "acme"
        models = shell("provider", "models", "acme").stdout.splitlines()
        assert [line.split() for line in models] == [
            ["MODEL", "CONTEXT", "IN/1M", "OUT/1M"],
            ["m-1", "-", "$1", "$2"],
            ["m-2", "-", "unknown", "unknown"],
        ]
        everything = "".join((table, info, shell("config", "show", "providers").stdout))
        assert server.key not in everything
        assert "<REDACTED>" in shell("config", "show", "providers").stdout
        assert "Did you mean 'acme'?" in shell("provider", "info", "acmee", code=1).stderr


def test_providers_are_tried_out(tmp_path: Path) -> None:
    with ModelServer("openai", Reply("ready", usage=Usage(10, 5))) as server:
        shell = Shell(tmp_path, server)
        assert shell("provider", "test").stdout.startswith("✓ acme (")
        chat = shell("provider", "test", "acme", "--chat", "m-1").stdout
        assert chat.endswith("m-1 says 'ready' (15 tokens, $0.000020)\n")
        tested = shell("config", "test", "--providers").stdout
        assert "✓ provider acme\n" in tested
        server.answer(Fault("auth"), Fault("auth"), Fault("auth"), to="models")
        failed = shell("provider", "test", code=1)
        assert failed.stdout.startswith("✗ acme: LLM provider error: ")
        assert "Hint: Check the key of provider 'acme'" in failed.stderr
        (row,) = json.loads(shell("provider", "test", "--json", code=1).stdout)
        assert (row["name"], row["ok"]) == ("acme", False)
        document = json.loads(
            shell("config", "test", "--providers", "--output", "json", code=1).stdout
        )
        assert document["ok"] is False
        assert document["checks"][-1]["check"] == "provider acme"


def test_the_configuration_is_tried_out_with_its_directories(tmp_path: Path) -> None:
    with ModelServer("openai") as server:
        shell = Shell(tmp_path, server)
        lines = shell("config", "test").stdout.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["✓ configuration", "✓ data directory"]
        (tmp_path / "file").write_text("")
        with (tmp_path / "llmspell.toml").open("a") as file:
            file.write('[tools.file_operations]\nallowed_paths = ["file/below"]\n')
        assert "file is not a directory" in shell("config", "test", code=1).stdout
        (tmp_path / "llmspell.toml").write_text("[runtime]\nmax_concurrent_scripts = 0\n")
        assert "✗ configuration" in shell("config", "test", code=1).stdout


@pytest.mark.parametrize("command", [("provider",), ("provider", "test"), ("chat",), ("run",)])
def test_help_has_examples(tmp_path: Path, command: tuple[str, ...]) -> None:
    with ModelServer("openai") as server:
        shown = Shell(tmp_path, server)(*command, "--help").stdout
    assert ("EXAMPLES:" in shown) is (command != ("provider", "test"))
