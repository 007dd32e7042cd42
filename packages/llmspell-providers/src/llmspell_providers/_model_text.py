"""The text that names a model: ``model``, ``provider/model``, either with ``@http://…``."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from llmspell_core import ConfigurationError

_ADDRESS = re.compile(r"^(?P<model>.*)@(?P<url>https?://[^@\s]+(?:@[^@\s]+)?)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelText:
    """A parsed model text. ``str()`` writes it back."""

    model: str
    provider: str | None = None
    base_url: str | None = None

    @classmethod
    def parse(cls, text: str, known: Container[str] = ()) -> ModelText:
        """Read *text*.

        With several slashes the first segment is the provider if it is in *known*; else the
        last slash splits. A leading ``rig/`` is dropped.

        Raises:
            ConfigurationError: for an empty text, or an empty part of it.
        """
        whole = text.strip()
        if not whole:
            raise ConfigurationError(
                "Model specification cannot be empty",
                hint="Name a model as provider/model, for example openai/gpt-4o-mini.",
            )
        found = _ADDRESS.match(whole)
        name, base_url = (found["model"], found["url"]) if found else (whole, None)
        if name.startswith("rig/"):
            name = name[4:]
        provider: str | None = None
        model = name
        if "/" in name:
            first, _, rest = name.partition("/")
            if name.count("/") == 1 or first.strip().lower() in known:
                provider, model = first, rest
            else:
                provider, _, model = name.rpartition("/")
        provider = None if provider is None else provider.strip()
        model = model.strip()
        if not model or model.endswith("/") or provider == "":
            raise ConfigurationError(
                f"Model specification '{whole}' has an empty provider or model",
                hint="Name a model as provider/model, for example openai/gpt-4o-mini.",
            )
        return cls(model, provider, base_url)

    def __str__(self) -> str:
        """As it is written in scripts."""
        named = self.model if self.provider is None else f"{self.provider}/{self.model}"
        return named if self.base_url is None else f"{named}@{self.base_url}"
