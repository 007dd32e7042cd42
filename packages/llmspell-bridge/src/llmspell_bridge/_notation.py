"""Descriptions in Lua's notation, for signatures and type annotations."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from llmspell_core import MemberDescription, ParameterDescription, ValueType, camel

_WORDS = {
    "any": "any",
    "nothing": "nil",
    "text": "string",
    "bytes": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "table": "table",
    "function": "function",
    "several": "...",
}


def type_text(type: ValueType) -> str:
    """The type as a reader writes it: ``string``, ``"a"|"b"``, ``string[]``, ``Agent?``."""
    if type.kind == "list":
        inner = type_text(type.of[0]) if type.of else "any"
        text = f"({inner})[]" if "|" in inner or inner.endswith("?") else f"{inner}[]"
    elif type.kind == "handle":
        text = type.title
    elif type.kind == "words":
        text = "|".join(literal(word) for word in type.words)
    elif type.kind == "either":
        text = "|".join(type_text(option) for option in type.of)
    else:
        text = _WORDS[type.kind]
    if type.optional and text not in {"any", "nil", "..."}:
        return f"({text})?" if "|" in text else f"{text}?"
    return text


def literal(value: Any) -> str:
    """A constant in Lua."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, int | float):
        return repr(value)
    return "{}"


def parameter_text(parameter: ParameterDescription) -> str:
    """``name: type``, ``name?: type``, ``...``."""
    if parameter.variadic:
        return "..."
    if parameter.required:
        return f"{parameter.name}: {type_text(parameter.type)}"
    return f"{parameter.name}?: {type_text(replace(parameter.type, optional=False))}"


def result_text(member: MemberDescription) -> str:
    """The type of the result, failures included; empty where there is none."""
    if member.promise:
        return "Promise"
    text = type_text(member.returns)
    if member.fails == "pair":
        if text in {"any", "nil", "..."}:
            return f"{text}, string?"
        return f"{text.removesuffix('?')}?, string?"
    if member.fails == "table":
        return f"{text}, string?"
    return "" if text == "nil" else text


def signature(member: MemberDescription, owner: str, separator: str) -> str:
    """``Agent.create(model: any, config?: table): Agent``; for a field its type."""
    name = f"{owner}{separator}{member.name}"
    if member.kind == "field":
        return f"{owner}.{member.name}: {type_text(member.returns)}"
    parameters = [parameter_text(parameter) for parameter in member.parameters]
    if member.promise:
        parameters.append("callback?: function")
    result = result_text(member)
    return f"{name}({', '.join(parameters)})" + (f": {result}" if result else "")


def twin_signature(member: MemberDescription, owner: str, separator: str) -> str:
    """The same of its asynchronous twin, which takes a callback last."""
    parameters = [parameter_text(parameter) for parameter in member.parameters]
    parameters.append("callback?: function")
    return f"{owner}{separator}{member.twins[0]}({', '.join(parameters)}): Promise"


def is_spelling(name: str, names: tuple[str, ...]) -> bool:
    """Whether *name* is only the camelCase of another of *names*."""
    return any(other != name and camel(other) == name for other in names)


def other_names(names: tuple[str, ...]) -> list[str]:
    """Further names a reader should know: not those that are camelCase of another."""
    return [name for name in names[1:] if not is_spelling(name, names)]


# Docstrings -------------------------------------------------------------------------------------

_DOUBLE = re.compile(r"``(.+?)``", re.DOTALL)
_SINGLE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\w[\w ]*)\*(?![\w*])")


def plain(text: str) -> str:
    """A docstring without its marks."""
    text = _DOUBLE.sub(r"\1", text)
    text = _SINGLE.sub(r"\1", text)
    return _EMPHASIS.sub(r"\1", text)


def markdown(text: str) -> str:
    """A docstring as Markdown: code in single backticks, parameters as code."""
    text = _DOUBLE.sub(r"`\1`", text)
    return _EMPHASIS.sub(r"`\1`", text)
