"""`Services`: lazy, once, closed in reverse; and the event loop they live on."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmspell_core import (
    IO_LOOP,
    Config,
    ConfigurationError,
    InternalError,
    IoLoop,
    OpenOnce,
    Plugin,
    PluginError,
    PluginIndex,
    Services,
    run_sync,
)

LOG: list[str] = []


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    return LOG


class Part:
    def __init__(self, services: Services, name: str) -> None:
        self.services = services
        self.name = name
        LOG.append(f"made {name}")

    async def aclose(self) -> None:
        LOG.append(f"closed {self.name}")


class SyncPart(Part):
    aclose = None  # type: ignore[assignment]

    def close(self) -> None:
        LOG.append(f"closed {self.name}")


def alpha(services):
    return Part(services, "alpha")


def beta(services):
    return Part(services, "beta")


def gamma(services):
    return Part(services, "gamma")


class _Ledger:
    def close(self) -> None:
        LOG.append("closed ledger")


def ledger(services):
    LOG.append("made ledger")
    return _Ledger()


def slow(services):
    time.sleep(0.05)
    return Part(services, "slow")


def bare(services):
    return object()


def in_a_cycle(services):
    return services.other


def other(services):
    return services.cycle


def failing(services):
    LOG.append("tried failing")
    raise ConfigurationError("no key")


class Stubborn(Part):
    async def aclose(self) -> None:
        LOG.append(f"closed {self.name}")
        raise ZeroDivisionError(self.name)


def stubborn(services):
    return Stubborn(services, "stubborn")


class Dependent(Part):
    async def aclose(self) -> None:
        LOG.append(f"flushed into {self.services.alpha.name}")
        with pytest.raises(InternalError):
            _ = self.services.gamma


def dependent(services):
    return Dependent(services, "dependent")


def make(*names: str, **factories: str) -> Services:
    table = {**{name: name for name in names}, **factories}
    return Services(
        plugins=PluginIndex(
            Plugin("llmspell.services", name, f"{__name__}:{function}", "test", "1")
            for name, function in table.items()
        )
    )


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_a_service_is_made_on_the_first_touch_and_once() -> None:
    services = make("alpha", "beta")
    assert (LOG, services.made(), services.peek("alpha")) == ([], [], None)
    first = services.alpha
    assert services.alpha is first is services.get("alpha") is services.peek("alpha")
    assert (LOG, services.made()) == (["made alpha"], ["alpha"])


def test_two_services_share_nothing() -> None:
    one, two = make("alpha"), make("alpha")
    assert one.alpha is not two.alpha
    assert one.alpha.services is one
    one.secrets.add("only-here")
    assert two.secrets.redact("only-here") == "only-here"
    one.close()
    assert two.alpha.name == "alpha"
    two.close()


def test_settings_may_be_a_mapping() -> None:
    assert Services({"a": {"b": 1}}).config.get("a.b") == 1
    config = Config({"a": 1})
    assert Services(config).config is config


def test_an_unknown_service_says_what_to_install() -> None:
    services = make("alpha")
    for name, words in (
        ("rag", "llmspell-rag"),
        ("vectors", "llmspell-storage"),
        ("state", "kernel"),
    ):
        with pytest.raises(ConfigurationError, match="is not installed") as caught:
            services.get(name)
        assert caught.value.code == "SERVICE_MISSING"
        assert words in (caught.value.hint or "")
    with pytest.raises(AttributeError):
        _ = services._private


def test_a_cycle_is_told_in_full() -> None:
    services = make(cycle="in_a_cycle", other="other", alpha="alpha")
    with pytest.raises(ConfigurationError, match="cycle → other → cycle") as caught:
        _ = services.cycle
    assert caught.value.code == "SERVICE_CYCLE"
    assert services.alpha.name == "alpha"


def test_a_factory_that_fails_is_tried_again() -> None:
    services = make("failing")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no key"):
            _ = services.failing
    assert LOG == ["tried failing"] * 2
    assert services.made() == []


def test_a_broken_plugin_is_named() -> None:
    services = make(tools="no_such_factory")
    with pytest.raises(PluginError, match=r"'tools' .* of test 1 cannot be loaded"):
        _ = services.tools


async def test_closing_goes_in_reverse_order_and_once() -> None:
    services = make("alpha", "beta", "gamma", "bare")
    _ = services.beta, services.alpha, services.bare, services.gamma
    LOG.clear()
    await services.aclose()
    await services.aclose()
    assert LOG == ["closed gamma", "closed alpha", "closed beta"]


async def test_touching_after_closing_says_so() -> None:
    services = make("alpha", "beta")
    _ = services.alpha
    await services.aclose()
    for touch in (lambda: services.alpha, lambda: services.get("beta")):
        with pytest.raises(InternalError, match="after its Services were closed") as caught:
            touch()
        assert caught.value.code == "SERVICES_CLOSED"
    with pytest.raises(InternalError):
        services.provide("gamma", object())
    assert services.peek("alpha") is None
    assert services.made() == []


async def test_every_service_is_closed_even_if_one_fails() -> None:
    services = make("alpha", "stubborn", "beta")
    _ = services.alpha, services.stubborn, services.beta
    LOG.clear()
    with pytest.raises(ZeroDivisionError):
        await services.aclose()
    assert LOG == ["closed beta", "closed stubborn", "closed alpha"]


async def test_closing_goes_on_when_it_is_cancelled() -> None:
    services = make("alpha")
    hanging = asyncio.Event()

    class Hanging:
        async def aclose(self) -> None:
            hanging.set()
            await asyncio.Event().wait()

    _ = services.alpha
    services.provide("hanging", Hanging())
    LOG.clear()
    task = asyncio.ensure_future(services.aclose())
    await asyncio.wait_for(hanging.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert LOG == ["closed alpha"]


async def test_while_it_closes_a_service_may_use_those_made_before() -> None:
    services = make("alpha", "dependent", "gamma")
    _ = services.alpha, services.dependent
    LOG.clear()
    await services.aclose()
    assert LOG == ["flushed into alpha", "closed alpha"]


async def test_a_service_with_close_alone_is_closed() -> None:
    services = make("ledger", "alpha")
    _ = services.ledger, services.alpha
    LOG.clear()
    async with services:
        pass
    assert LOG == ["closed alpha", "closed ledger"]


def test_closing_from_synchronous_code() -> None:
    services = make("ledger", "alpha")
    _ = services.ledger, services.alpha
    LOG.clear()
    services.close()
    services.close()
    assert LOG == ["closed alpha", "closed ledger"]


def test_closing_starts_no_loop_when_nothing_needs_one() -> None:
    code = (
        "import sys\n"
        "from llmspell_core import Services, IO_LOOP\n"
        "class Part:\n    def close(self): print('closed')\n"
        "services = Services()\n"
        "services.provide('part', Part())\n"
        "services.provide('thing', object())\n"
        "services.close()\n"
        "assert not IO_LOOP.started and 'asyncio' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "closed\n"


def test_a_provided_service_takes_the_place_of_the_installed_one() -> None:
    services = make("alpha")
    mine = object()
    services.provide("alpha", mine)
    assert services.alpha is mine
    assert LOG == []
    with pytest.raises(InternalError, match="'alpha' is already in use"):
        services.provide("alpha", object())


def test_a_service_named_like_a_part_of_services_hides_nothing() -> None:
    services = make(config="alpha", get="alpha", close="alpha")
    config = services.config
    assert services.get("config").name == "alpha"
    assert services.get("close").name == "alpha"
    assert services.config is config
    assert callable(services.get)
    services.close()


def test_many_threads_get_one_service() -> None:
    services = make("slow")
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: services.slow, range(64)))
    assert {id(part) for part in made} == {id(made[0])}
    assert LOG == ["made slow"]


# -- the loop and its door ------------------------------------------------------------------------


def test_run_sync_runs_on_the_loop_of_the_process() -> None:
    async def where() -> tuple[str, asyncio.AbstractEventLoop]:
        return threading.current_thread().name, asyncio.get_running_loop()

    name, loop = run_sync(where())
    assert (name, loop) == ("llmspell-io", IO_LOOP.loop())
    assert run_sync(where())[1] is loop


def test_run_sync_raises_what_the_coroutine_raised() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_sync(fail())


async def test_run_sync_refuses_to_wait_on_a_loop() -> None:
    async def never() -> None: ...

    with pytest.raises(InternalError, match="already running") as caught:
        run_sync(never())
    assert "await" in (caught.value.hint or "")


def test_a_loop_starts_once_for_many_threads() -> None:
    loop = IoLoop()
    assert not loop.started
    with ThreadPoolExecutor(8) as pool:
        loops = set(pool.map(lambda _: loop.loop(), range(32)))
    assert len(loops) == 1
    assert loop.started
    running = loops.pop()
    running.call_soon_threadsafe(running.stop)
    give_up = time.monotonic() + 10
    while running.is_running() and time.monotonic() < give_up:
        time.sleep(0.001)
    running.close()


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    code = (
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from llmspell_core import run_sync\n"
        "async def number(): return 7\n"
        "assert run_sync(number()) == 7\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(run_sync(number()))\n"
        "_, status = os.waitpid(child, 0)\n"
        "print(os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "7\n"


class Opened:
    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.fail = False
        self.gate: asyncio.Event | None = None

    def once(self) -> OpenOnce[str]:
        async def open_() -> str:
            self.opened += 1
            if self.gate is not None:
                await self.gate.wait()
            if self.fail:
                raise OSError("cannot open")
            return f"thing {self.opened}"

        async def close(thing: str) -> None:
            self.closed += 1

        return OpenOnce("the store", open_, close)


async def test_concurrent_callers_share_one_opening() -> None:
    opened = Opened()
    once = opened.once()
    assert await asyncio.gather(*(once.get() for _ in range(10))) == ["thing 1"] * 10
    assert (opened.opened, opened.closed) == (1, 0)


async def test_a_failed_opening_is_tried_again() -> None:
    opened = Opened()
    opened.fail = True
    once = opened.once()
    results = await asyncio.gather(*(once.get() for _ in range(3)), return_exceptions=True)
    assert [type(r) for r in results] == [OSError] * 3
    opened.fail = False
    assert await once.get() == "thing 2"


async def test_a_cancelled_caller_does_not_cancel_the_opening_of_others() -> None:
    opened = Opened()
    opened.gate = asyncio.Event()
    once = opened.once()
    first, second = asyncio.ensure_future(once.get()), asyncio.ensure_future(once.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    opened.gate.set()
    assert await second == "thing 1"
    assert first.cancelled()


def test_a_second_loop_gets_a_typed_error() -> None:
    once = Opened().once()
    assert asyncio.run(once.get()) == "thing 1"
    with pytest.raises(InternalError, match="the store was opened on another event loop") as caught:
        asyncio.run(once.get())
    assert caught.value.code == "WRONG_LOOP"


async def test_closing_closes_what_was_opened_once() -> None:
    opened = Opened()
    once = opened.once()
    await once.get()
    await once.aclose()
    await once.aclose()
    assert opened.closed == 1
    with pytest.raises(InternalError, match="the store is closed"):
        await once.get()


async def test_closing_what_was_never_opened_is_harmless() -> None:
    opened = Opened()
    await opened.once().aclose()
    assert (opened.opened, opened.closed) == (0, 0)


async def test_closing_waits_for_an_opening_in_progress() -> None:
    opened = Opened()
    opened.gate = asyncio.Event()
    once = opened.once()
    getting = asyncio.ensure_future(once.get())
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(once.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    opened.gate.set()
    await asyncio.wait_for(closing, 10)
    assert await getting == "thing 1"
    assert opened.closed == 1


async def test_closing_after_a_failing_opening_is_harmless() -> None:
    opened = Opened()
    opened.fail = True
    opened.gate = asyncio.Event()
    once = opened.once()
    getting = asyncio.ensure_future(once.get())
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(once.aclose())
    await asyncio.sleep(0)
    opened.gate.set()
    await closing
    with pytest.raises(OSError, match="cannot open"):
        await getting
    assert opened.closed == 0


async def test_closing_from_another_loop_closes_on_the_first() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def open_() -> str:
        return "thing"

    async def close(_: str) -> None:
        loops.append(asyncio.get_running_loop())

    once = OpenOnce("the store", open_, close)
    await asyncio.wrap_future(IO_LOOP.submit(once.get()))
    await asyncio.wait_for(once.aclose(), 10)
    assert loops == [IO_LOOP.loop()]


def test_closing_after_its_loop_has_ended_is_harmless() -> None:
    once = Opened().once()
    asyncio.run(once.get())
    asyncio.run(once.aclose())
    assert os.getpid()
