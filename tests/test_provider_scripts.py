"""Scripts that ask vendors they find by the environment alone, through the installed command."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from llmspell_testing import Fault, ModelServer, Reply

from .conftest import PROJECT, User

EXAMPLE = str(PROJECT / "examples/script-users/features/providers.lua")
ASK = """
local model = ARGS.model
local agent = Agent.builder():name("a"):model(model):build()
local reply, why = agent:execute({text = "hello"})
if not reply then error(why, 0) end
print(reply.text, reply.usage.prompt_tokens)
"""


def test_the_example_runs_without_a_key_and_with_two(
    user: User, model_server: Callable[..., ModelServer]
) -> None:
    offline = user.run("run", EXAMPLE)
    assert (offline.code, offline.err) == (0, "")
    assert "No provider is configured" in offline.out
    assert "echo/any says: Echo: Say hello in five words." in offline.out
    groq = model_server("groq", "Hello from the fast one.")
    claude = model_server("anthropic", "Hello from the long one.")
    chosen = {"LLMSPELL_GROQ_MODEL": "llama-3.1-8b-instant"}
    environment = {**groq.environment, **claude.environment, **chosen}
    online = user.run("run", EXAMPLE, env=environment)
    assert (online.code, online.err) == (0, "")
    assert "anthropic: ready, tools yes, pictures yes\n" in online.out
    assert "groq: ready, tools yes, pictures no\n" in online.out
    assert "groq/llama-3.1-8b-instant says: Hello from the fast one.\n" in online.out
    assert "says: Hello from the long one.\n" in online.out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["azure", "cohere", "gemini", "llama_cpp", "ollama", "perplexity"])
def test_a_vendor_of_the_environment_answers_a_script(
    user: User, model_server: Callable[..., ModelServer], name: str
) -> None:
    server = model_server(name, Reply("Hello there."))
    script = user.script(ASK)
    done = user.run("run", script, "--", f"--model={name}/test-model", env=server.environment)
    assert (done.code, done.out, done.err) == (0, "Hello there.\t10\n", "")
    assert server.calls[-1].messages[-1].content.endswith("hello")


def test_a_wrong_name_is_answered_with_the_nearest(
    user: User, model_server: Callable[..., ModelServer]
) -> None:
    server = model_server("openai", models=["gpt-4o-mini", "gpt-4o"])
    script = user.script(ASK)
    done = user.run("run", script, "--", "--model=openai/gpt-4o-mimi", env=server.environment)
    assert done.code == 1
    assert "has no model 'gpt-4o-mimi'" in done.err
    assert "Did you mean 'gpt-4o-mini'?" in done.err
    assert "llmspell provider models openai" in done.err


def test_the_key_is_in_no_output_and_in_no_recorded_run(
    user: User, model_server: Callable[..., ModelServer]
) -> None:
    server = model_server("mistral", Fault("auth"), key="mistral-secret-key-42")
    script = user.script(ASK)
    done = user.run(
        "--trace",
        "debug",
        "run",
        "--record",
        script,
        "--",
        "--model=mistral/test-model",
        env={**server.environment, "LLMSPELL_MISTRAL_MAX_RETRIES": "0"},
    )
    assert done.code == 1
    assert "mistral-secret-key-42" not in done.out + done.err
    kept = [path for path in user.home.rglob("*") if path.is_file()]
    assert kept
    assert [p for p in kept if b"mistral-secret-key-42" in p.read_bytes()] == []
    shutil.rmtree(user.home / ".llmspell", ignore_errors=True)
