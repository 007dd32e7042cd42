"""Where the Lua module does not export what an interrupt needs, scripts look by themselves."""

import _ctypes
import time
from types import SimpleNamespace

import pytest

from bridge_testkit import KEPT, World
from llmspell_bridge import LuaEngine, LuaJITEngine
from llmspell_core import CancelSignal, ExecutionCancelled, LLMTimeoutError
from test_bridge_limits import LOOPS


class Closed:
    """A lupa module whose library exports nothing."""

    __file__ = _ctypes.__file__

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


@pytest.fixture
def polling(monkeypatch, language):
    monkeypatch.setattr(
        "llmspell_bridge._interrupt.sys", SimpleNamespace(platform="an operating system")
    )
    for engine in (LuaEngine, LuaJITEngine):
        own = engine._module
        monkeypatch.setattr(engine, "_module", lambda self, own=own: Closed(own(self)))
    made = World()
    yield made
    made.close()


@pytest.mark.requirement("limits.time.cannot_be_evaded")
@pytest.mark.parametrize(
    "name",
    [
        *("plain", "pcall", "nested pcall", "coroutine in coroutine", "chain of coroutines"),
        *("generator", "comparator", "callback in pcall", "stream", "recursion by tail call"),
    ],
)
def test_an_endless_loop_ends_at_the_deadline(polling, name):
    error = polling.fails(LOOPS[name], seconds=0.1)
    assert isinstance(error, LLMTimeoutError)
    assert "abandoned" not in str(error.hint)
    assert polling.run("local n = 0 for i = 1, 1e5 do n = n + i end return n") == 5000050000


def test_cancelling_ends_a_loop(polling):
    signal = CancelSignal()
    future = polling.submit(
        "Probe.keep(print) while true do pcall(error) end", context=polling.context(cancel=signal)
    )
    while not KEPT:
        assert not future.done()
        time.sleep(0)
    signal.cancel("enough")
    assert isinstance(future.exception(10), ExecutionCancelled)


async def test_a_cancelled_callback_ends_and_the_script_goes_on(polling):
    code = "return Probe.call_cancelled(function() while true do pcall(error) end end, 0.05)"
    assert polling.run(code) == "cancelled"
    assert polling.run("return 'alive'") == "alive"
