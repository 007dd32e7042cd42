"""Fixtures for pytest: ``pytest_plugins = ["llmspell_testing.fixtures"]`` in a ``conftest.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmspell_testing._model_server import ModelServer


@pytest.fixture
def model_server() -> Iterator[Callable[..., ModelServer]]:
    """Starts model servers: ``model_server("openai", "Hello")``, arguments as `ModelServer` has
    them. At the end of the test they are stopped, and wrong requests fail it.
    """
    started: list[ModelServer] = []

    def start(*arguments: object, **options: object) -> ModelServer:
        server = ModelServer(*arguments, **options)  # type: ignore[arg-type]
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()
    for server in started:
        server.verify()
