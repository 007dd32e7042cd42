"""Descriptions of declared globals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypedDict

import pytest

from llmspell_core import (
    Items,
    Plugin,
    PluginIndex,
    Record,
    Registered,
    Returns,
    ScriptFunction,
    attribute,
    describe_class,
    describe_globals,
    exposed,
    grouped_globals,
    script_global,
    script_names,
    script_object,
)

if TYPE_CHECKING:
    from llmspell_core import Promise as LaterPromise
    from llmspell_core import StorageStats  # not a script class

MADE: list[str] = []


class Paint(TypedDict, total=False):
    """How it is painted.

    Attributes:
        colour: The name of a colour
            of the rainbow.
        coats: How many.
    """

    colour: Literal["red", "blue"]
    coats: int


@dataclass
class Frame:
    """What is around it.

    Attributes:
        wood: Of which tree.
    """

    wood: str
    width: float = 1.0


@script_object("Picture")
class Picture:
    """A picture. Hang it somewhere."""

    def __init__(self) -> None:
        MADE.append("Picture")

    @attribute
    def title(self) -> str | None:
        """What it is called."""

    @exposed()
    def copy(self) -> Self:
        """Another one."""

    @exposed()
    def gallery(self) -> Gallery:
        """Where it hangs."""


@script_object("Gallery")
class Gallery:
    """Where pictures hang."""

    @exposed()
    def pictures(self) -> list[Picture]:
        """All of them."""


@script_global("Atelier")
class Atelier:
    """Makes pictures.

    As many as you like. Nothing is sold.
    """

    def __init__(self, host: Any) -> None:
        MADE.append("Atelier")

    def __script_index__(self, key: Annotated[str, Registered("llmspell.tools")]) -> Picture | None:
        """The picture of that name."""

    @exposed(names=("make",), fails="pair", async_twin=True)
    async def paint_it(
        self,
        motif: str,
        options: Paint | None = None,
        size: int = 3,
        *colours: float,
        python_only: bool = False,
    ) -> Picture:
        """Paint a motif. It takes a while, e.g. an hour.

        Nobody may look.

        Args:
            motif: What is seen on it.
            options: Further
                wishes.
            python_only: Not for scripts.

        Returns:
            The picture
            itself.

        Raises:
            ToolError: When the brush breaks.
            ValidationError: For a motif
                without a shape.
        """

    @exposed(promise=True, misuse="table", fails="table")
    async def order_async(self, motif: Any) -> Returns:
        """Order one."""

    @exposed(native=True)
    def dream(self, about: Annotated[Any, Frame], then: ScriptFunction) -> Record:
        """Dream of one."""

    def not_for_scripts(self) -> None:
        """Nothing."""

    @exposed()
    def odd_ones(
        self,
        either: str | Picture | None,
        several: Sequence[bytes],
        table: dict[str, Any],
        nobody_knows: SomethingUnknown,  # noqa: F821
        promise: LaterPromise,
        stats: StorageStats,
        tool: Annotated[str, Registered("llmspell.tools")],
    ) -> Items:
        """Odd ones."""


def index(*plugins: tuple[str, str, str]) -> PluginIndex:
    return PluginIndex(
        Plugin("llmspell.globals", name, value, owner, "1.0") for name, value, owner in plugins
    )


@pytest.fixture(autouse=True)
def findable(monkeypatch):
    monkeypatch.setitem(sys.modules, "described_here", sys.modules[__name__])
    MADE.clear()


ATELIER = ("Atelier", "described_here:Atelier", "acme")


def described():
    (found,) = describe_globals(index(ATELIER))
    assert found.error == ""
    return found


def test_a_global_is_described_without_being_made() -> None:
    found = described()
    assert MADE == []
    assert (found.name, found.distribution, found.version) == ("Atelier", "acme", "1.0")
    assert found.object.summary == "Makes pictures."
    assert found.object.doc == "Makes pictures.\n\nAs many as you like. Nothing is sold."
    assert [member.name for member in found.object.members] == [
        "paint_it",
        "order_async",
        "dream",
        "odd_ones",
    ]
    assert [handle.name for handle in found.handles] == ["Picture", "Promise", "Gallery"]
    assert found.object.other_doc == "The picture of that name."
    assert found.object.other_fields is not None
    assert found.object.other_fields.title == "Picture"
    assert found.object.other_fields.registered == "llmspell.tools"


def test_a_method_tells_names_parameters_docs_and_failures() -> None:
    member = described().object.member("makeAsync")
    assert member is not None
    assert member.names == ("paint_it", "paintIt", "make")
    assert member.twins == (
        "paint_it_async",
        "paintItAsync",
        "make_async",
        "makeAsync",
        "paint_itAsync",
        "paintIt_async",
    )
    assert (member.kind, member.fails, member.misuse) == ("method", "pair", "raise")
    assert (member.waits, member.promise) == (True, False)
    assert member.summary == "Paint a motif."
    assert member.doc == "Paint a motif. It takes a while, e.g. an hour.\n\nNobody may look."
    assert member.returns_doc == "The picture itself."
    assert member.raises == (
        ("ToolError", "When the brush breaks."),
        ("ValidationError", "For a motif without a shape."),
    )
    assert [
        (p.name, p.type.kind, p.required, p.default, p.variadic, p.doc) for p in member.parameters
    ] == [
        ("motif", "text", True, None, False, "What is seen on it."),
        ("options", "table", False, None, False, "Further wishes."),
        ("size", "integer", False, 3, False, ""),
        ("colours", "number", False, None, True, ""),
    ]
    assert (member.returns.kind, member.returns.title) == ("handle", "Picture")


def test_keys_of_tables_come_from_their_classes() -> None:
    paint = described().object.member("paint_it").parameters[1].type
    assert [(k.name, k.type.kind, k.required, k.doc) for k in paint.keys] == [
        ("colour", "words", False, "The name of a colour of the rainbow."),
        ("coats", "integer", False, "How many."),
    ]
    assert paint.keys[0].type.words == ("red", "blue")
    frame = described().object.member("dream").parameters[0].type
    assert (frame.kind, frame.title) == ("any", "Frame")
    assert [(k.name, k.type.kind, k.required, k.doc) for k in frame.keys] == [
        ("wood", "text", True, "Of which tree."),
        ("width", "number", False, ""),
    ]


def test_types_are_told_in_words_of_no_language() -> None:
    member = described().object.member("oddOnes")
    either, several, table, unknown, promise, stats, tool = (p.type for p in member.parameters)
    assert (either.kind, either.optional) == ("either", True)
    assert [(option.kind, option.title) for option in either.of] == [
        ("text", ""),
        ("handle", "Picture"),
    ]
    assert (several.kind, several.of[0].kind) == ("list", "bytes")
    assert (table.kind, table.keys) == ("table", ())
    assert unknown.kind == "any"
    # Imported for type checkers only, and found all the same.
    assert (promise.kind, promise.title) == ("handle", "Promise")
    assert stats.kind == "any"
    assert (tool.kind, tool.registered) == ("text", "llmspell.tools")
    assert member.returns.kind == "list"
    assert described().object.member("order_async").returns.kind == "several"
    assert described().object.member("order_async").promise


def test_inherited_types_mean_the_class_that_is_described() -> None:
    @script_object("Print")
    class Print(Picture):
        """A copy."""

    first, *others = describe_class(Print)
    assert first.name == "Print"
    assert first.member("copy").returns.title == "Print"
    assert [each.name for each in others] == ["Gallery", "Picture"]


def test_one_class_under_two_names_is_one_global() -> None:
    found = describe_globals(
        index(
            ("Studio", "described_here:Atelier", "acme"),
            ATELIER,
            ("Other", "described_here:Atelier", "umbrella"),
        )
    )
    assert [(each.name, each.aliases) for each in found] == [
        ("Atelier", ("Studio",)),
        ("Other", ()),
    ]
    assert describe_globals(index(ATELIER), only=["Nobody"]) == ()


def test_names_are_grouped_without_an_import() -> None:
    broken = ("Broken", "not_there_at_all:Broken", "acme")
    twice = [("Twice", "described_here:Atelier", owner) for owner in ("a", "b")]
    assert grouped_globals(index(broken, *twice)) == [("Broken",), ("Twice",)]


@pytest.mark.parametrize(
    ("plugins", "reason"),
    [
        ([("Broken", "not_there_at_all:Broken", "acme")], "of acme 1.0 cannot be loaded"),
        ([("Broken", "described_here:Paint", "acme")], "not a class declared with script_global"),
        (
            [("Broken", "described_here:Atelier", "a"), ("Broken", "described_here:Atelier", "b")],
            "registered by a 1.0 and b 1.0",
        ),
    ],
)
def test_a_broken_global_says_why_and_the_others_are_described(plugins, reason) -> None:
    atelier, broken = describe_globals(index(*plugins, ATELIER))
    assert atelier.error == ""
    assert reason in broken.error
    assert broken.object.members == ()


def test_a_description_is_json_without_what_is_empty() -> None:
    import json

    made = json.loads(json.dumps(described().to_dict()))
    assert "error" not in made
    assert made["object"]["members"][0]["parameters"][2] == {
        "name": "size",
        "type": {"kind": "integer", "optional": False},
        "required": False,
        "default": 3,
        "variadic": False,
    }


def test_code_without_docstrings_is_described_too(monkeypatch) -> None:
    monkeypatch.setattr(Gallery, "__doc__", None)
    (first, *_) = describe_class(Gallery)
    assert (first.summary, first.doc) == ("", "")


def test_every_spelling_of_a_name_is_known_once() -> None:
    assert script_names("get_info") == ("get_info", "getInfo")
    assert script_names("next", ("and_then", "then")) == ("next", "and_then", "andThen", "then")
    assert script_names("await_") == ("await",)


def test_describing_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, llmspell_core as c\n"
        "c.describe_globals(c.PluginIndex([]))\n"
        "heavy = {'asyncio', 'typing_extensions', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
