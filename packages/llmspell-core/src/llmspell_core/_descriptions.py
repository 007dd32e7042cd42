"""What scripts can use, described from the declarations, in no particular script language.

Nothing is constructed: a description is read from the declared classes, their annotations and
docstrings. The classes' modules are imported, and nothing is kept that a state would pay for.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin

from llmspell_core._declared import DeclaredMember, DeclaredParameter, declared_members, evaluated
from llmspell_core._docstrings import Docstring, read_docstring
from llmspell_core._plugins import Plugin, PluginIndex
from llmspell_core._script import (
    Failure,
    Items,
    Live,
    Promise,
    Record,
    Registered,
    Returns,
    ScriptFunction,
)

GROUP = "llmspell.globals"

TypeKind = Literal[
    "any", "nothing", "text", "bytes", "integer", "number", "boolean", "table", "list",
    "function", "handle", "words", "either", "several",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OptionKey:
    """A key of a table whose keys are known."""

    name: str
    type: ValueType
    required: bool
    doc: str


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a parameter, a field or a result.

    Attributes:
        kind: ``several`` is more than one result, ``either`` one of the types in `of`,
            ``words`` one of `words`, ``handle`` the object described under `handle`.
        of: The elements' type of a list (one or none), the options of ``either``.
        words: The words of ``words``.
        handle: The key of an `ObjectDescription`.
        title: What scripts call that object; of a table with known keys, what Python calls them.
        keys: The known keys of a table that this is, or may be.
        registered: The entry-point group whose names this text is taken from.
        optional: Whether nil is taken or given as well.
    """

    kind: TypeKind
    of: tuple[ValueType, ...] = ()
    words: tuple[Any, ...] = ()
    handle: str = ""
    title: str = ""
    keys: tuple[OptionKey, ...] = ()
    registered: str = ""
    optional: bool = False

    def options(self) -> tuple[ValueType, ...]:
        """Itself, or what it is either of."""
        return self.of if self.kind == "either" else (self,)


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """A parameter. `default` stands for a missing argument where `required` is False."""

    name: str
    type: ValueType
    required: bool
    default: Any = None
    variadic: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """A method or a field.

    Attributes:
        name: The name to be shown.
        names: All names, that one first.
        twins: The names of the asynchronous twin, which takes a callback last and returns a
            `Promise`.
        kind: ``method`` or ``field``.
        parameters: In order; empty for a field.
        returns: The result, or the type of the field.
        fails: What a failure at run time becomes, see `exposed`.
        misuse: What wrong arguments become.
        promise: Whether the method itself takes a callback last and returns a promise.
        waits: Whether the script waits for it, serving callbacks meanwhile.
        summary: The first sentence.
        doc: The docstring without its sections.
        returns_doc: Its section ``Returns:``.
        raises: Its section ``Raises:``: error, when.
    """

    name: str
    names: tuple[str, ...]
    twins: tuple[str, ...]
    kind: Literal["method", "field"]
    parameters: tuple[ParameterDescription, ...]
    returns: ValueType
    fails: Failure
    misuse: Failure
    promise: bool
    waits: bool
    summary: str
    doc: str
    returns_doc: str
    raises: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; empty fields are left out."""
        return cast("dict[str, Any]", _plain(self))


@dataclass(frozen=True, slots=True)
class ObjectDescription:
    """A declared class: a global or what handles are.

    Attributes:
        key: Identifies it among all descriptions.
        name: What scripts call it.
        summary: The first sentence.
        doc: The docstring.
        members: Methods and fields in the order they were declared, inherited ones first.
        other_fields: The type of fields that no member is, where there are such; its
            `registered` is the entry-point group that names them, if one does.
        other_doc: What they are.
    """

    key: str
    name: str
    summary: str
    doc: str
    members: tuple[MemberDescription, ...]
    other_fields: ValueType | None = None
    other_doc: str = ""

    def member(self, name: str) -> MemberDescription | None:
        """The member that has *name* among its names or those of its twin."""
        for member in self.members:
            if name in member.names or name in member.twins:
                return member
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON; empty fields are left out."""
        return cast("dict[str, Any]", _plain(self))


@dataclass(frozen=True, slots=True)
class GlobalDescription:
    """A script global and all handles that can come from it.

    Attributes:
        name: The name of the global.
        aliases: Further names of the same global.
        distribution: Who brings it.
        version: Of the distribution.
        object: Its class.
        handles: The classes of handles its methods give out, directly or through others, each
            once, in the order they are met.
        error: Why it cannot be described (its plugin is broken); its `object` has no members
            then. Empty otherwise.
    """

    name: str
    aliases: tuple[str, ...]
    distribution: str
    version: str
    object: ObjectDescription
    handles: tuple[ObjectDescription, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON; empty fields are left out."""
        return cast("dict[str, Any]", _plain(self))


def describe_globals(
    plugins: PluginIndex, *, only: Iterable[str] | None = None
) -> tuple[GlobalDescription, ...]:
    """The installed script globals, sorted by name; third parties' like built-ins.

    Imports the modules that declare them and constructs nothing. One that cannot be imported,
    or whose name two distributions claim, says so in its `error`.

    Args:
        plugins: What is installed.
        only: Names or aliases of the globals that are wanted; None is all.
    """
    wanted = None if only is None else set(only)
    return tuple(
        _described(plugins, names)
        for names in grouped_globals(plugins)
        if wanted is None or not wanted.isdisjoint(names)
    )


def _described(plugins: PluginIndex, names: Sequence[str]) -> GlobalDescription:
    from llmspell_core._errors import PluginError

    name, *aliases = names
    plugin: Plugin | None = None
    try:
        plugin = plugins.find(GROUP, name)
        cls: Any = plugins.load(GROUP, name)
        if getattr(cls, "__script_kind__", None) != "global":
            raise PluginError(f"'{name}' ({GROUP}) is not a class declared with script_global")
        seen, *handles = describe_class(cls)
    except PluginError as error:
        owner = ("", "") if plugin is None else (plugin.distribution, plugin.version)
        empty = ObjectDescription(name, name, "", "", ())
        return GlobalDescription(name, tuple(aliases), *owner, empty, error=error.message)
    assert plugin is not None
    return GlobalDescription(
        name, tuple(aliases), plugin.distribution, plugin.version, seen, tuple(handles)
    )


def grouped_globals(plugins: PluginIndex) -> list[tuple[str, ...]]:
    """The names of the globals without importing any: those of one global together, sorted.

    Names that lead to the same object of the same distribution are one global.
    """
    from llmspell_core._errors import PluginError

    groups: dict[Any, list[str]] = {}
    for name in plugins.names(GROUP):
        try:
            plugin = plugins.find(GROUP, name)
        except PluginError:  # two owners: an error of its own for whoever touches it
            plugin = None
        identity = name if plugin is None else (plugin.distribution, plugin.value)
        groups.setdefault(identity, []).append(name)
    return [tuple(names) for names in groups.values()]


def describe_class(cls: type) -> tuple[ObjectDescription, ...]:
    """A class declared with `script_global` or `script_object`, then those of the handles that
    can come from it.
    """
    described = _Describer()
    first = described.object(cls)
    return (first, *(each for each in described.finish() if each.key != first.key))


class _Describer:
    """Describes classes and remembers which handles they mention."""

    def __init__(self) -> None:
        self._done: dict[str, ObjectDescription] = {}
        self._mentioned: dict[str, type] = {}
        self._within: list[Any] = []
        """The option tables that are being described: one in itself is not described again."""

    def finish(self) -> list[ObjectDescription]:
        """The handles that were mentioned, and those that these mention."""
        while missing := [key for key in self._mentioned if key not in self._done]:
            for key in missing:
                self.object(self._mentioned[key])
        return [self._done[key] for key in self._mentioned]

    def object(self, cls: Any) -> ObjectDescription:
        """Describe *cls*."""
        key = _key(cls)
        about = read_docstring(cls.__doc__)
        index: Any = getattr(cls, "__script_index__", None)
        made = ObjectDescription(
            key,
            cls.__script_name__,
            about.summary,
            about.text,
            tuple(self._member(member, cls) for member in declared_members(cls)),
            None if index is None else self._other_fields(index, cls),
            "" if index is None else read_docstring(index.__doc__).text,
        )
        self._done[key] = made
        return made

    def _other_fields(self, index: Any, owner: type) -> ValueType:
        """What ``__script_index__`` gives; named as the annotation of its key says."""
        read = DeclaredMember("", ("",), (), None, index)
        key = self.type(read.parameters()[0].annotation, owner)
        return _changed(self.type(read.returns(), owner), registered=key.registered)

    def _member(self, member: DeclaredMember, owner: type) -> MemberDescription:
        about = read_docstring(member.function.__doc__)
        exposure = member.exposure
        returns = self.type(member.returns(), owner)
        made = MemberDescription(
            name=member.names[0],
            names=member.names,
            twins=member.twins,
            kind="field" if exposure is None else "method",
            parameters=()
            if exposure is None
            else tuple(self._parameter(p, about, owner) for p in member.parameters()),
            returns=returns,
            fails="raise" if exposure is None else exposure.fails,
            misuse="raise" if exposure is None else exposure.misuse,
            promise=exposure is not None and exposure.promise,
            waits=member.is_async,
            summary=about.summary,
            doc=about.text,
            returns_doc=about.returns,
            raises=about.raises,
        )
        if exposure is not None and (exposure.async_twin or exposure.promise):
            self._mention(Promise)
        return made

    def _parameter(
        self, parameter: DeclaredParameter, about: Docstring, owner: type
    ) -> ParameterDescription:
        return ParameterDescription(
            name=parameter.name,
            type=self.type(parameter.annotation, owner),
            required=parameter.required,
            default=parameter.default,
            variadic=parameter.variadic,
            doc=about.arguments.get(parameter.name, ""),
        )

    def _mention(self, cls: Any) -> ValueType:
        key = _key(cls)
        self._mentioned.setdefault(key, cls)
        return ValueType("handle", handle=key, title=cls.__script_name__)

    # Types ------------------------------------------------------------------------------------

    def type(self, annotation: Any, owner: type) -> ValueType:
        """The type that an evaluated annotation means; *owner* is what `Self` means."""
        text = getattr(annotation, "__forward_arg__", annotation)
        if isinstance(text, str):  # in quotes inside of another
            annotation = evaluated(text, vars(sys.modules[owner.__module__]))
        if annotation is None or annotation is type(None):
            return ValueType("nothing")
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self._noted(self.type(inner[0], owner), inner[1:], owner)
        if origin is Union or origin is types.UnionType:
            return self._either(inner, owner)
        if origin is Literal:
            return ValueType("words", words=tuple(inner))
        if annotation is Self:
            annotation = owner
        kind: Any = origin or annotation
        if not isinstance(kind, type):
            return ValueType("any")
        return self._of_class(kind, inner, owner)

    def _noted(self, found: ValueType, notes: Sequence[Any], owner: type) -> ValueType:
        """A type with what is noted beside it."""
        for note in notes:
            if isinstance(note, Registered):
                found = _changed(found, registered=note.group)
            elif isinstance(note, type):
                found = _changed(found, keys=self._keys(note, owner), title=note.__name__)
        return found

    def _either(self, options: Sequence[Any], owner: type) -> ValueType:
        wanted = [option for option in options if option is not type(None)]
        optional = len(wanted) < len(options)
        if len(wanted) == 1:
            return _changed(self.type(wanted[0], owner), optional=optional)
        made = dict.fromkeys(self.type(option, owner) for option in wanted)
        if len(made) == 1:
            return _changed(next(iter(made)), optional=optional)
        return ValueType("either", of=tuple(made), optional=optional)

    def _of_class(self, cls: Any, inner: Sequence[Any], owner: type) -> ValueType:
        if getattr(cls, "__script_kind__", None) == "object":
            return self._mention(cls)
        if cls in _KINDS:
            return ValueType(_KINDS[cls])
        if issubclass(cls, ScriptFunction):
            return ValueType("function")
        if issubclass(cls, Returns):
            return ValueType("several")
        if issubclass(cls, Record | Live | Mapping):
            keys = () if issubclass(cls, Record) else self._keys(cls, owner)
            return ValueType("table", keys=keys, title=cls.__name__ if keys else "")
        if issubclass(cls, Items):
            return ValueType("list")
        if issubclass(cls, list | tuple | set | frozenset | Sequence):
            element = (self.type(inner[0], owner),) if inner and inner[0] is not Any else ()
            return ValueType("list", of=element)
        if issubclass(cls, Callable):
            return ValueType("function")
        return ValueType("any")

    def _keys(self, cls: Any, owner: type) -> tuple[OptionKey, ...]:
        """The keys of a ``TypedDict`` class, the fields of a dataclass."""
        import dataclasses

        required: Any = getattr(cls, "__required_keys__", None)
        if dataclasses.is_dataclass(cls):
            missing = dataclasses.MISSING
            fields = dataclasses.fields(cls)
            required = {f.name for f in fields if f.default is f.default_factory is missing}
            annotations: Mapping[str, Any] = {f.name: f.type for f in fields}
        elif required is not None:
            annotations = cls.__annotations__
        else:
            return ()
        if cls in self._within:
            return ()
        self._within.append(cls)
        docs = read_docstring(cls.__doc__).attributes
        scope = vars(sys.modules[cls.__module__])
        made: list[OptionKey] = []
        for name, annotation in annotations.items():
            # A quoted annotation of a TypedDict is kept as a ForwardRef.
            text = getattr(annotation, "__forward_arg__", annotation)
            found = self.type(evaluated(text, scope), owner)
            made.append(OptionKey(name, found, name in required, docs.get(name, "")))
        self._within.pop()
        return tuple(made)


_KINDS: Mapping[Any, TypeKind] = {
    str: "text",
    bytes: "bytes",
    bool: "boolean",
    int: "integer",
    float: "number",
}


def _changed(
    found: ValueType,
    *,
    optional: bool = False,
    registered: str = "",
    keys: tuple[OptionKey, ...] = (),
    title: str = "",
) -> ValueType:
    from dataclasses import replace

    return replace(
        found,
        optional=optional or found.optional,
        registered=registered or found.registered,
        keys=keys or found.keys,
        title=title or found.title,
    )


def _key(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _plain(value: Any) -> Any:
    """As JSON, without what is empty."""
    from dataclasses import fields, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        made = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {
            name: item
            for name, item in made.items()
            if item is False or item == 0 or item not in ("", None, [], {})
        }
    if isinstance(value, tuple | list):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
