"""The values that components pass to each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """``major.minor.patch``."""

    major: int = 0
    minor: int = 1
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"1.2.3"``.

        Raises:
            ValueError: for anything else.
        """
        found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text.strip())
        if found is None:
            raise ValueError(f"not a version: {text!r}; write it as 1.2.3")
        return cls(*map(int, found.groups()))

    def is_compatible_with(self, other: Version) -> bool:
        """Equal major numbers."""
        return self.major == other.major

    def __str__(self) -> str:
        """``a.b.c``."""
        return f"{self.major}.{self.minor}.{self.patch}"


def component_id(name: str) -> str:
    """The deterministic id of a named component: UUID version 5 in the DNS namespace."""
    from uuid import NAMESPACE_DNS, uuid5

    return str(uuid5(NAMESPACE_DNS, name))


@dataclass(frozen=True, slots=True)
class ComponentMetadata:
    """Who a component is. `component_type` is ``agent``, ``tool``, ``workflow`` or a word of
    the component's own; `tags` are free words for discovery.
    """

    name: str
    description: str = ""
    component_type: str = "component"
    version: Version = field(default_factory=Version)
    tags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`component_id` of the name."""
        return component_id(self.name)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of model calls. `cost` is in US dollars, None when the price is unknown.

    `cached_tokens` (read from the vendor's prompt cache) and `cache_write_tokens` (written to
    it) are parts of `prompt_tokens`, `reasoning_tokens` of `completion_tokens`, whatever way
    the vendor counts. `estimated` marks token counts that the provider did not report.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt plus completion."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """The sum; an unknown cost makes the sum unknown."""
        unknown = self.cost is None or other.cost is None
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            None if unknown else (self.cost or 0.0) + (other.cost or 0.0),
            self.estimated or other.estimated,
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields plus ``total_tokens``."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "cached_tokens": self.cached_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cost": self.cost,
            "estimated": self.estimated,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{k: v for k, v in values.items() if k != "total_tokens"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that a run made: what was asked, what came back, how long it took."""

    id: str
    name: str
    parameters: dict[str, Any]
    success: bool | None = None
    result: Any = None
    error: str | None = None
    duration_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """With the field names scripts read: both spellings of name and parameters."""
        return {
            "id": self.id,
            "name": self.name,
            "tool_name": self.name,
            "parameters": self.parameters,
            "arguments": self.parameters,
            "result": None
            if self.success is None
            else {
                "success": self.success,
                "data": self.result,
                "error": self.error,
                "execution_time_ms": self.duration_ms,
            },
        }


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a file that goes with a text: its bytes, or where they are.

    `media_type` is the IANA name, ``image/png``. Exactly one of `data` and `url` is set.
    """

    media_type: str
    data: bytes | None = None
    url: str | None = None

    @property
    def kind(self) -> str:
        """``image``, ``audio``, ``video``, ``text`` or ``application``."""
        return self.media_type.partition("/")[0]

    def base64(self) -> str:
        """`data` in base64; empty for a URL."""
        from base64 import b64encode

        return b64encode(self.data or b"").decode("ascii")

    def to_dict(self) -> dict[str, Any]:
        """JSON form: ``{media_type, url}`` or ``{media_type, base64}``."""
        if self.url is not None:
            return {"media_type": self.media_type, "url": self.url}
        return {"media_type": self.media_type, "base64": self.base64()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        if values.get("url") is not None:
            return cls(values["media_type"], url=values["url"])
        from base64 import b64decode

        return cls(values["media_type"], data=b64decode(values["base64"]))


@dataclass(frozen=True, slots=True)
class AgentInput:
    """What a component is asked. A bare ``str`` is accepted wherever this is."""

    text: str = ""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    media: tuple[Media, ...] = ()

    @classmethod
    def of(cls, value: AgentInput | str) -> AgentInput:
        """*value*, with a string made into an input."""
        return cls(text=value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class AgentOutput:
    """What a component answers.

    `finish_reason` is ``stop``, or why the answer is partial: ``length``, ``tool_calls`` …
    `metadata` holds at least ``execution_time_ms``; models add ``model`` and ``provider``.
    """

    text: str = ""
    data: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str = "stop"
    transfer_to: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class AgentChunk:
    """A piece of a streamed answer.

    `kind` is ``text`` (`text` is the delta), ``reasoning`` (`data` is the delta of what the model
    lets be seen of its thinking), ``tool_call`` (`data` is the call as
    `ToolCall.to_dict` gives it, without a result), ``tool_result`` (with one) or ``end``
    (`output` is the whole answer).
    """

    kind: str
    index: int
    text: str = ""
    data: Any = None
    output: AgentOutput | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self.kind == "end"
