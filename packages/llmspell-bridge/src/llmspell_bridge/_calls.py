"""From a declared method to the function that Lua calls.

Such a function gets the object (or nothing, for a global) and the arguments as they crossed, and
never raises: it returns ``True, results…``, ``False, message``, a token to wait for, or ``None``
to end the task. Arguments go through the slots of `_declaration`; what they refuse is misuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell_bridge._declaration import Method

Called = Callable[..., Any]
Results = Callable[[Any], tuple[Any, ...]]
"""What Lua gets for a value."""
Refused = Callable[[BaseException, Method, bool], tuple[Any, ...]]
"""What Lua gets for an error; the last argument says that the arguments were wrong."""
Start = Callable[[Any, Callable[[Any, Any], tuple[Any, ...]]], Any]
"""Starts a coroutine; returns the token to wait for, or what Lua gets at once."""

_NOTHING = (True, None)


def bound(
    method: Method, instance: Any, *, results: Results, refused: Refused, start: Start
) -> Called:
    """What Lua calls for *method*: of *instance*, or where that is None, of its first argument."""
    if method.is_async:
        return _waiting(method, instance, results, refused, start)
    count = len(method.slots)
    if method.rest is not None or count > 3:
        return _with_many(method, instance, results, refused)
    makers = (_with_none, _with_one, _with_two, _with_three)
    return makers[count](method, instance, results, refused)


def _waiting(
    method: Method, instance: Any, results: Results, refused: Refused, start: Start
) -> Called:
    function, bind = method.function, method.bind

    def finish(value: Any, error: BaseException | None) -> tuple[Any, ...]:
        if error is not None:
            return refused(error, method, False)
        try:
            return results(value)
        except BaseException as raised:
            return refused(raised, method, False)

    def call(target: Any, *args: Any) -> Any:
        try:
            values = bind(args)
        except BaseException as error:
            return refused(error, method, True)
        return start(function(target if instance is None else instance, *values), finish)

    return call


def _with_many(method: Method, instance: Any, results: Results, refused: Refused) -> Called:
    function, bind = method.function, method.bind

    def call(target: Any, *args: Any) -> Any:
        try:
            values = bind(args)
        except BaseException as error:
            return refused(error, method, True)
        try:
            value = function(target if instance is None else instance, *values)
            return _NOTHING if value is None else results(value)
        except BaseException as error:
            return refused(error, method, False)

    return call


# The same for the common numbers of parameters, without a list between: a call that does not wait
# must cost little more than the crossing itself.


def _with_none(method: Method, instance: Any, results: Results, refused: Refused) -> Called:
    function = method.function

    def call(target: Any, *_: Any) -> Any:
        try:
            value = function(target if instance is None else instance)
            return _NOTHING if value is None else results(value)
        except BaseException as error:
            return refused(error, method, False)

    return call


def _with_one(method: Method, instance: Any, results: Results, refused: Refused) -> Called:
    function = method.function
    (first,) = method.slots

    def call(target: Any, a: Any = None, *_: Any) -> Any:
        try:
            a = first(a)
        except BaseException as error:
            return refused(error, method, True)
        try:
            value = function(target if instance is None else instance, a)
            return _NOTHING if value is None else results(value)
        except BaseException as error:
            return refused(error, method, False)

    return call


def _with_two(method: Method, instance: Any, results: Results, refused: Refused) -> Called:
    function = method.function
    first, second = method.slots

    def call(target: Any, a: Any = None, b: Any = None, *_: Any) -> Any:
        try:
            a, b = first(a), second(b)
        except BaseException as error:
            return refused(error, method, True)
        try:
            value = function(target if instance is None else instance, a, b)
            return _NOTHING if value is None else results(value)
        except BaseException as error:
            return refused(error, method, False)

    return call


def _with_three(method: Method, instance: Any, results: Results, refused: Refused) -> Called:
    function = method.function
    first, second, third = method.slots

    def call(target: Any, a: Any = None, b: Any = None, c: Any = None, *_: Any) -> Any:
        try:
            a, b, c = first(a), second(b), third(c)
        except BaseException as error:
            return refused(error, method, True)
        try:
            value = function(target if instance is None else instance, a, b, c)
            return _NOTHING if value is None else results(value)
        except BaseException as error:
            return refused(error, method, False)

    return call
