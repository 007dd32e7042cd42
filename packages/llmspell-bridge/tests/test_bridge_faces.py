"""How declared names, titles and failures look from a script."""

import sys
from typing import Annotated, Any, TypedDict

import pytest

from bridge_testkit import World, make_services
from llmspell_core import (
    NotFoundError,
    Registered,
    ToolError,
    attribute,
    exposed,
    script_global,
    script_object,
)

MADE: list["Zoo"] = []


class Care(TypedDict, total=False):
    food: str


@script_object("Animal")
class Animal:
    """An animal."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    @exposed()
    def same(self, other: "Animal") -> bool:
        """Whether it is this one."""
        return other is self


@script_object("Cage")
class Cage:
    """Has a title of its own."""

    name = "not shown"

    def __script_title__(self) -> str:
        return "lions, ünd"


@script_object("Wild")
class Wild:
    """Its name cannot be told."""

    @property
    def name(self) -> str:
        raise ToolError("it ran away")


@script_global("Zoo")
class Zoo:
    """Animals."""

    def __init__(self, host: Any) -> None:
        MADE.append(self)
        self.count = 0

    @attribute
    def size(self) -> int:
        """How many."""
        return self.count

    @exposed()
    def animal(self, kind: str) -> Any:
        """One of a kind."""
        self.count += 1
        kinds: dict[str, Any] = {
            "named": Animal(name="leo"),
            "numbered": Animal(id="animal_7"),
            "empty name": Animal(name="", id="x"),
            "odd name": Animal(name=5),
            "cage": Cage(),
            "wild": Wild(),
        }
        return kinds.get(kind) or Animal()

    @exposed()
    def feed(
        self,
        animal: Animal,
        care: Care | None = None,
        *more: Annotated[str, Registered("llmspell.tools")],
    ) -> list[Any]:
        """Feeds it."""
        return [care or {}, *more]

    @exposed(names=("later",), promise=True, fails="table", misuse="table", raises=(NotFoundError,))
    async def find_async(self, name: str, deep: bool = False) -> str:
        """Looks for one; never raises."""
        if name == "nobody":
            raise NotFoundError("Animal not found: nobody")
        if name == "tired":
            raise ToolError("it sleeps")
        return name

    @exposed(fails="table", raises=(NotFoundError,), async_twin=True)
    async def call(self, name: str) -> str:
        """Calls one; misuse raises."""
        if name == "nobody":
            raise NotFoundError("Animal not found: nobody")
        return name


@pytest.fixture
def zoo(monkeypatch):
    monkeypatch.setitem(sys.modules, "zoo_of_tests", sys.modules[__name__])
    MADE.clear()
    made = World(services=make_services(Zoo="zoo_of_tests:Zoo", Zoos="zoo_of_tests:Zoo"))
    yield made
    made.close()


def test_a_global_under_two_names_is_one(zoo):
    assert zoo.run(
        "Zoos.animal('named') Zoo.animal('named')"
        " return { Zoo == Zoos, Zoo.animal == Zoos.animal, Zoo.size, Zoos.size }"
    ) == [True, True, 2, 2]
    assert len(MADE) == 1


def test_a_colon_call_works_under_both_names(zoo):
    assert zoo.run("return tostring(Zoos:animal('named')) .. tostring(Zoo:animal('named'))") == (
        "Animal(leo)Animal(leo)"
    )


def test_a_class_that_two_distributions_name_is_one_instance(monkeypatch):
    monkeypatch.setitem(sys.modules, "zoo_of_tests", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, "zoo_elsewhere", sys.modules[__name__])
    MADE.clear()
    world = World(services=make_services(Zoo="zoo_of_tests:Zoo", Park="zoo_elsewhere:Zoo"))
    assert world.run("Zoo.animal('x') return Park.size") == 1
    assert len(MADE) == 1
    world.close()


@pytest.mark.parametrize("setting", ["zoo", "zoos"])
def test_a_global_that_is_switched_off_has_none_of_its_names(zoo, setting):
    services = make_services(
        {setting: {"enabled": False}}, Zoo="zoo_of_tests:Zoo", Zoos="zoo_of_tests:Zoo"
    )
    world = World(services=services)
    assert world.run("return { Zoo == nil, Zoos == nil }") == [True, True]
    world.close()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("named", "Animal(leo)"),
        ("numbered", "Animal(animal_7)"),
        ("empty name", "Animal(x)"),
        ("cage", "Cage(lions, ünd)"),
    ],
)
def test_a_handle_is_shown_with_its_title(zoo, kind, text):
    assert zoo.run(f"local a = Zoo.animal('{kind}') return {{ tostring(a), 'a ' .. a }}") == [
        text,
        f"a {text}",
    ]


def test_handles_without_a_name_are_numbered(zoo):
    assert zoo.run(
        "local a, b, c = Zoo.animal('x'), Zoo.animal('odd name'), Zoo.animal('named')"
        " return { tostring(a), tostring(b), tostring(c), tostring(a) }"
    ) == ["Animal(1)", "Animal(2)", "Animal(leo)", "Animal(1)"]


def test_a_name_that_fails_is_an_error_of_the_script(zoo):
    message = zoo.message("tostring(Zoo.animal('wild'))")
    assert message == "t.lua:1: Tool execution error: it ran away"


def test_option_tables_and_noted_texts_are_converted(zoo):
    assert zoo.run("return Zoo.feed(Zoo.animal('x'), { food = 'hay' }, 'a', 5)") == [
        {"food": "hay"},
        "a",
        "5",
    ]
    assert "parameter 'care' of Zoo.feed must be a table with named fields, got string" in (
        zoo.message("Zoo.feed(Zoo.animal('x'), 'hay')")
    )
    assert "parameter 'more' of Zoo.feed must be a string, got table" in zoo.message(
        "Zoo.feed(Zoo.animal('x'), {}, 'a', {})"
    )
    assert "parameter 'animal' of Zoo.feed must be a Animal, got Cage" in zoo.message(
        "Zoo.feed(Zoo.animal('cage'))"
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("Zoo.find_async('nobody')", "Component error: Animal not found: nobody"),
        ("Zoo.findAsync('nobody')", "Component error: Animal not found: nobody"),
        ("Zoo.later('nobody')", "Component error: Animal not found: nobody"),
        (
            "Zoo:find_async()",
            "Validation error: Missing required parameter 'name' of Zoo.find_async",
        ),
        (
            "Zoo.find_async({})",
            "Validation error: parameter 'name' of Zoo.find_async must be a string, got table",
        ),
        ("Zoo.find_async('tired')", "Tool execution error: it sleeps"),
    ],
)
def test_misuse_may_be_a_result(zoo, call, error):
    found, note = zoo.run(f"local r, e = {call}:await() return {{ r, e }}")
    assert (found["success"], found["error"], note) == (False, error, error)
    told = zoo.run(
        "local told "
        + call.removesuffix(")")
        + (", " if "'" in call or "{" in call else "")
        + "function(r, e) told = { r.error, e } end):await() Utils.sleep(1) return told"
    )
    assert told == [error, error]


def test_a_declared_promise_is_one(zoo):
    assert zoo.run("return Zoo.find_async('leo'):await()") == "leo"
    assert (
        zoo.run("return Zoo.find_async('leo', true):next(function(r) return r .. '!' end):await()")
        == "leo!"
    )
    assert zoo.run("return type(Zoo.find_async_async)") == "nil"


def test_misuse_of_a_twin_rejects_its_promise(zoo):
    for call, message in [
        ("call_async()", "Validation error: Missing required parameter 'name' of Zoo.call"),
        ("callAsync('nobody')", "Component error: Animal not found: nobody"),
    ]:
        assert zoo.run(
            f"local p = Zoo.{call} local r, e = p:await() return {{ p:status(), r == nil, e }}"
        ) == ["rejected", True, message]
