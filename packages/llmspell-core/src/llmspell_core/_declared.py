"""Reading declared classes: what they offer, under which names, with which parameters.

Engines compile from it at the first touch of a global and descriptions are made of it, so names,
defaults and annotations mean the same everywhere. `inspect` is not used: importing it costs more
than a short script.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from llmspell_core._script import Exposure, script_names, twin_names

_COROUTINE = 0x80
_VARIADIC = 0x04


@dataclass(frozen=True, slots=True)
class DeclaredParameter:
    """A parameter; nil counts as no argument. `default` is what stands for a missing one where
    it is not `required`.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = None
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredMember:
    """An exposed method or an `attribute`.

    Attributes:
        key: The name of the Python attribute.
        names: Every name scripts know it by, the one to be shown first.
        twins: Those of its asynchronous twin.
        exposure: None for an attribute.
        function: The method, or the getter of the attribute.
    """

    key: str
    names: tuple[str, ...]
    twins: tuple[str, ...]
    exposure: Exposure | None
    function: Callable[..., Any]

    @property
    def is_async(self) -> bool:
        """Whether it is an ``async def``."""
        return bool(self._code().co_flags & _COROUTINE)

    def _code(self) -> Any:
        return getattr(self.function, "__code__")  # noqa: B009 a plain function has it

    def _scope(self) -> Mapping[str, Any]:
        return vars(sys.modules[self.function.__module__])

    def parameters(self) -> tuple[DeclaredParameter, ...]:
        """Those that scripts can pass, in order; keyword-only ones are not among them.

        Annotations are evaluated. Where one takes None or says nothing, the argument may be
        left out.
        """
        code, scope = self._code(), self._scope()
        annotations: Mapping[str, Any] = self.function.__annotations__
        defaults: tuple[Any, ...] = getattr(self.function, "__defaults__", None) or ()
        names: tuple[str, ...] = code.co_varnames[1 : code.co_argcount]
        first_default = len(names) - len(defaults)
        made: list[DeclaredParameter] = []
        for index, name in enumerate(names):
            annotation = evaluated(annotations.get(name, Any), scope)
            given = index >= first_default
            made.append(
                DeclaredParameter(
                    name.rstrip("_"),
                    annotation,
                    not given and not takes_none(annotation),
                    defaults[index - first_default] if given else None,
                )
            )
        if code.co_flags & _VARIADIC:
            name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
            annotation = evaluated(annotations.get(name, Any), scope)
            made.append(DeclaredParameter(name.rstrip("_"), annotation, False, variadic=True))
        return tuple(made)

    def returns(self) -> Any:
        """The evaluated annotation of the result."""
        annotations: Mapping[str, Any] = self.function.__annotations__
        return evaluated(annotations.get("return", Any), self._scope())


def declared_members(cls: type) -> tuple[DeclaredMember, ...]:
    """What a class declared with `script_global` or `script_object` offers, inherited first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    made: list[DeclaredMember] = []
    for key, member in found.items():
        if isinstance(member, property):
            getter = member.fget
            if getter is not None and getattr(getter, "__script__", None) is True:
                made.append(DeclaredMember(key, script_names(key), (), None, getter))
            continue
        exposure = getattr(member, "__script__", None)
        if isinstance(exposure, Exposure):
            names = script_names(key, exposure.names)
            twins = twin_names(names) if exposure.async_twin else ()
            made.append(DeclaredMember(key, names, twins, exposure, member))
    return tuple(made)


def takes_none(annotation: Any) -> bool:
    """Whether None is among what the annotation takes."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return takes_none(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return type(None) in get_args(annotation)
    return annotation is Any


class _Names(dict[str, Any]):
    """Names in annotations: the module's, else core's, else what it imports for typing only."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__()
        self._scope = scope

    def __missing__(self, name: str) -> Any:
        if name in self._scope:
            return self._scope[name]
        import builtins
        import collections.abc
        import typing

        import llmspell_core

        for home in (builtins, llmspell_core, typing, collections.abc):
            found = getattr(home, name, None)
            if found is not None:
                return found
        return _imported_for_typing(self._scope["__name__"], name)


@cache
def _imports_for_typing(module: str) -> Mapping[str, tuple[str, str]]:
    """Name → module and name there, of what a module imports under ``if TYPE_CHECKING:``."""
    import ast
    from inspect import getsource

    made: dict[str, tuple[str, str]] = {}
    for node in ast.parse(getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.module and not each.level:
                    for alias in each.names:
                        made[alias.asname or alias.name] = (each.module, alias.name)
    return made


def _imported_for_typing(module: str, name: str) -> Any:
    from importlib import import_module

    home = _imports_for_typing(module).get(name)
    return Any if home is None else getattr(import_module(home[0]), home[1])


def evaluated(annotation: Any, scope: Mapping[str, Any]) -> Any:
    """The type that an annotation means, in quotes or not; Any when it cannot be told."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, {"__builtins__": {}}, _Names(scope))  # noqa: S307 the code of an installed class
    except Exception:
        return Any
