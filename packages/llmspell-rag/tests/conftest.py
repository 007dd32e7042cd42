from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import Config, ExecutionContext, Services
from llmspell_rag import RetrievalService
from llmspell_testing import SecurityDouble, make_context


class World:
    """Retrieval over a real store, with a folder that may be read."""

    def __init__(self, tmp_path: Path, config: dict[str, Any] | None = None) -> None:
        self.home = tmp_path / "home"
        self.folder = tmp_path / "work"
        self.folder.mkdir(exist_ok=True)
        self.services = Services(Config(config or {}, home=str(self.home)))
        self.services.provide("security", SecurityDouble(self.folder))
        self.context: ExecutionContext = make_context(self.services)

    @property
    def rag(self) -> RetrievalService:
        return self.services.rag  # type: ignore[return-value]

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    async def sources(self, query: str, **options: Any) -> list[str]:
        hits = await self.rag.search(query, self.context, k=100, hybrid=True, **options)
        return sorted(hit.source for hit in hits)


@pytest.fixture
async def open_world(tmp_path: Path) -> AsyncIterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(config: dict[str, Any] | None = None) -> World:
        worlds.append(World(tmp_path, config))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.services.aclose()


@pytest.fixture
def world(open_world: Callable[..., World]) -> World:
    return open_world()
