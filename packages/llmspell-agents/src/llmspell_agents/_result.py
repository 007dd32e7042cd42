"""Results of agents and of their tools, in the shapes scripts read."""

from __future__ import annotations

import json
from typing import Any, cast

from llmspell_core import AgentChunk, AgentOutput, Record, ToolResult

_LIFTED = {"success", "result", "operation"}


def _decoded(text: str) -> Any:
    """The value *text* is the JSON of, or None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def result_fields(output: AgentOutput, *, text: str | None = None) -> dict[str, Any]:
    """The fields of an AgentResult. Keys of a JSON answer that looks like a tool's result are
    copied to the top, where they clash with nothing.
    """
    said = output.text if text is None else text
    # An instance of a class, which a Python program asked for, is no value of a script.
    plain = isinstance(output.data, dict | list | str | int | float | bool)
    value = output.data if plain else _decoded(said)
    inner: Any = Record({"content": said, "text": said}, said)
    fields: dict[str, Any] = {
        "success": True,
        "text": said,
        "response": said,
        "content": said,
        "output": said,
        "message": said,
        "result": inner,
        "finish_reason": output.finish_reason,
        "metadata": dict(output.metadata),
        "tool_calls": [call.to_dict() for call in output.tool_calls],
    }
    if value is not None:
        fields["data"] = value
    if output.usage is not None:
        fields["usage"] = output.usage.to_dict()
    if output.transfer_to is not None:
        fields["transfer_to"] = output.transfer_to
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        if _LIFTED & table.keys():
            fields["_raw_text"] = said
            fields.update({k: v for k, v in table.items() if k not in fields or k in _LIFTED})
    return fields


def agent_result(output: AgentOutput) -> Record:
    """What ``agent:execute`` returns; prints as its text."""
    return Record(result_fields(output), output.text)


def streamed_result(output: AgentOutput, pieces: list[str]) -> Record:
    """What ``agent:invokeStream`` returns: `agent_result` with what was streamed as its text; an
    answer in a form that was asked for is that alone.
    """
    text = output.text if output.data is not None else "".join(pieces) or output.text
    return Record({**result_fields(output, text=text), "chunks_received": len(pieces)}, text)


def chunk_record(chunk: AgentChunk) -> Record:
    """What the callback of a stream gets; prints as its text. The last one has the whole
    result's fields, and no text of its own.
    """
    fields: dict[str, Any] = {}
    if chunk.output is not None:
        fields = result_fields(chunk.output)
        fields["full_text"] = chunk.output.text
    fields.update(
        text=chunk.text,
        content=chunk.text,
        kind=chunk.kind,
        index=chunk.index,
        is_final=chunk.is_final,
    )
    if chunk.data is not None:
        fields["data"] = chunk.data
    return Record(fields, chunk.text)


def tool_result(result: ToolResult) -> Record:
    """What ``agent:invokeTool`` returns."""
    text = result.rendered()
    data = _decoded(text)
    scalar = isinstance(result.value, str | int | float | bool)
    fields: dict[str, Any] = {
        "success": result.success,
        "operation": result.operation,
        "message": result.message,
        "metadata": dict(result.metadata),
        "_raw_text": text,
    }
    if not result.success:
        fields["error"] = result.error or result.message or "the tool reported a failure"
        fields["error_details"] = result.error_details
        return Record(fields, fields["error"])
    payload = result.result if result.result is not None else (data if data is not None else text)
    fields.update(text=text, result=payload, data=data, value=result.value)
    fields["output"] = result.value if scalar else text
    if isinstance(payload, dict):
        table = cast("dict[str, Any]", payload)
        fields["content"] = table.get("content")
        fields.update({k: v for k, v in table.items() if k not in fields})
    return Record({k: v for k, v in fields.items() if v is not None}, text)
