"""The tool ``uuid_generator``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, NAMESPACE_X500, UUID, uuid5

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_COMPONENTS = {
    "agent": UUID("6ba13d5a-3f5d-4a5b-9f7e-3d5a2f4d3a2b"),
    "tool": UUID("7cb24e6b-4f6e-5b6c-af8f-4e6b3f5e4b3c"),
    "workflow": UUID("8dc35f7c-5f7f-6c7d-bf9f-5f7c4f6f5c4d"),
}
_NAMESPACES = {
    "dns": NAMESPACE_DNS,
    "url": NAMESPACE_URL,
    "oid": NAMESPACE_OID,
    "x500": NAMESPACE_X500,
    **_COMPONENTS,
}
_FORMATS = ("hyphenated", "standard", "simple", "urn", "braced")
_VERSIONS = ("v1", "v4", "v5", "v7", "nil")
_GREGORIAN = 0x01B21DD213814000  # 100 ns steps between 1582-10-15 and 1970-01-01
MOST = 1000


def _random(context: ExecutionContext, count: int) -> bytes:
    return context.observe("random", count, lambda: os.urandom(count))


def _time_based(context: ExecutionContext) -> UUID:
    ticks = round(context.now() * 10_000_000) + _GREGORIAN
    noise = _random(context, 8)
    # RFC 9562 section 6.10: a random node has the multicast bit set.
    node = int.from_bytes(noise[:6], "big") | 1 << 40
    sequence = int.from_bytes(noise[6:], "big") & 0x3FFF | 0x8000
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000
    return UUID(int=low << 96 | middle << 80 | high << 64 | sequence << 48 | node)


def _sortable(context: ExecutionContext) -> UUID:
    milliseconds = round(context.now() * 1000)
    noise = int.from_bytes(_random(context, 10), "big")
    high, low = noise >> 62 & 0x0FFF | 0x7000, noise & (1 << 62) - 1 | 1 << 63
    return UUID(int=milliseconds << 80 | high << 64 | low)


def _written(uuid: UUID, style: str) -> str:
    if style == "simple":
        return uuid.hex
    if style == "urn":
        return uuid.urn
    return f"{{{uuid}}}" if style == "braced" else str(uuid)


@built_in("uuid_generator")
class UuidGenerator(OperationTool):
    """Generates and checks identifiers. Randomness and clock come from the context."""

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "generate": ("create", "new"),
        "component_id": (),
        "deterministic": (),
        "custom": (),
        "validate": ("check",),
    }
    default_operation = "generate"

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("uuid_generator")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), "What to make", default="generate"),
                Parameter(
                    "version", "any", "generate: v1, v4, v5, v7 (or the number), nil", default="v4"
                ),
                Parameter(
                    "format",
                    "string",
                    "How it is written",
                    default="hyphenated",
                    enum=_FORMATS,
                ),
                Parameter(
                    "namespace",
                    "string",
                    "v5: dns, url, oid, x500, agent, tool, workflow or a UUID; "
                    "deterministic: agent, tool, workflow",
                ),
                Parameter("name", "string", "v5 and deterministic: what is named"),
                Parameter("prefix", "string", "component_id, custom: how the id begins"),
                Parameter("suffix", "string", "custom: how the id ends"),
                Parameter("short", "boolean", "Only the first 8 digits", default=False),
                Parameter("timestamp", "boolean", "custom: with Unix seconds", default=False),
                Parameter("uuid", "string", "validate: the text to check", aliases=("input",)),
                Parameter(
                    "count", "integer", "generate: how many", default=1, minimum=1, maximum=MOST
                ),
            ),
            "object",
        )

    def normalise(self, parameters: dict[str, Any]) -> None:
        """Versions may be numbers."""
        asked = parameters.get("version")
        if isinstance(asked, int | float) and not isinstance(asked, bool):
            parameters["version"] = f"v{asked:g}"

    def prepare_operation(self, parameters: dict[str, Any]) -> None:
        """``operation = "v7"`` is ``version = "v7"``."""
        asked = parameters.get("operation")
        if isinstance(asked, str) and asked.lower() in _VERSIONS:
            parameters["operation"] = "generate"
            parameters["version"] = asked.lower()

    async def do_generate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{uuid, version, format, uuids}``."""
        version = self._version(parameters.get("version", "v4"))
        style = parameters.get("format", "hyphenated")
        made = [
            _written(self._make(version, parameters, context), style)
            for _ in range(parameters.get("count", 1))
        ]
        return ToolResult(
            operation="generate",
            message=f"Generated {len(made)} UUID{'s' if len(made) > 1 else ''} ({version})",
            result={"uuid": made[0], "version": version, "format": style, "uuids": made},
            value=made[0],
        )

    @staticmethod
    def _version(asked: Any) -> str:
        word = str(asked).strip().lower()
        word = f"v{word}" if word in ("1", "4", "5", "7") else word
        if word not in _VERSIONS:
            raise ValidationError(
                f"Invalid version: '{asked}'. Allowed values: {', '.join(_VERSIONS)}",
                field="version",
            )
        return word

    def _make(self, version: str, parameters: dict[str, Any], context: ExecutionContext) -> UUID:
        if version == "v4":
            return UUID(context.new_id())
        if version == "v7":
            return _sortable(context)
        if version == "v1":
            return _time_based(context)
        if version == "nil":
            return UUID(int=0)
        name = parameters.get("name")
        if name is None:
            raise ValidationError("UUID v5 requires a name parameter", field="name")
        return uuid5(self._namespace(parameters.get("namespace", "dns")), name)

    @staticmethod
    def _namespace(text: str) -> UUID:
        known = _NAMESPACES.get(text.lower())
        if known is not None:
            return known
        try:
            return UUID(text)
        except ValueError:
            raise ValidationError(
                f"Invalid namespace UUID: '{text}'",
                field="namespace",
                hint=f"Give a UUID or one of: {', '.join(_NAMESPACES)}",
            ) from None

    async def do_component_id(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{id, prefix, short}``."""
        prefix, short = parameters.get("prefix", "component"), parameters.get("short", False)
        made = context.new_id()
        made = f"{prefix}_{made[:8] if short else made}"
        return ToolResult(
            operation="component_id",
            message="Generated a component id",
            result={"id": made, "prefix": prefix, "short": short},
            value=made,
        )

    async def do_deterministic(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{id, namespace, name}``; the same for the same name."""
        name = parameters.get("name")
        if name is None:
            raise ValidationError(
                "Missing required parameter 'name'", field="name", code="MISSING_REQUIRED"
            )
        namespace = str(parameters.get("namespace", "agent")).lower()
        if namespace not in _COMPONENTS:
            raise ValidationError(
                f"Invalid namespace: '{namespace}'. Allowed values: {', '.join(_COMPONENTS)}",
                field="namespace",
            )
        made = str(uuid5(_COMPONENTS[namespace], name))
        return ToolResult(
            operation="deterministic",
            message="Generated a deterministic id",
            result={"id": made, "namespace": namespace, "name": name},
            value=made,
        )

    async def do_custom(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{id, timestamp, short}``: prefix, time, UUID and suffix, joined by ``_``."""
        short, timed = parameters.get("short", False), parameters.get("timestamp", False)
        uuid = context.new_id().replace("-", "")
        parts = [
            parameters.get("prefix", "component"),
            str(int(context.now())) if timed else None,
            uuid[:8] if short else uuid,
            parameters.get("suffix"),
        ]
        made = "_".join(part for part in parts if part)
        return ToolResult(
            operation="custom",
            message="Generated a custom id",
            result={"id": made, "timestamp": timed, "short": short},
            value=made,
        )

    async def do_validate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{valid, uuid, version, variant}`` or ``{valid = false, error}``."""
        text = parameters.get("uuid")
        if text is None:
            raise ValidationError(
                "Missing required parameter 'uuid'", field="uuid", code="MISSING_REQUIRED"
            )
        found = _parsed(text.strip())
        if found is None:
            result: dict[str, Any] = {"valid": False, "error": f"Invalid UUID format: '{text}'"}
        else:
            version = "nil" if found.int == 0 else f"v{found.version}" if found.version else None
            result = {
                "valid": True,
                "uuid": str(found),
                "version": version,
                "variant": found.variant,
            }
        return ToolResult(
            operation="validate",
            message="The UUID is valid" if found else "The UUID is not valid",
            result=result,
            value=found is not None,
        )


def _parsed(text: str) -> UUID | None:
    """The UUID that *text* writes in one of the four forms; `uuid.UUID` alone is laxer."""
    plain = text.lower().removeprefix("urn:uuid:")
    if plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1]
    digits = plain.replace("-", "")
    if len(digits) != 32 or any(c not in "0123456789abcdef" for c in digits):
        return None
    made = UUID(digits)
    return made if plain in (str(made), made.hex) else None
