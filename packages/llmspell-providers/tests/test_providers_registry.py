"""Which provider a text means, where its settings come from, and what is put around it."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from llmspell_core import (
    CancelSignal,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    Deadline,
    ExecutionCancelled,
    LLMTimeoutError,
    Message,
    ModelInfo,
    NetworkError,
    Plugin,
    PluginIndex,
    Provider,
    ProviderError,
    ProviderSettings,
    RateLimitError,
    Services,
    Usage,
)
from llmspell_providers import ModelText, ProviderService
from llmspell_providers._prices import PriceList
from llmspell_providers._wrappers import Ending, Priced, Recorded, Retrying
from llmspell_testing import (
    LedgerDouble,
    LoopbackServer,
    Reply,
    ScriptedProvider,
    make_context,
    make_services,
    recorded_and_replayed,
    recording_context,
)
from llmspell_utils import RetryPolicy

PLUGINS = (
    Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1"),
    Plugin("llmspell.providers", "echo", "llmspell_testing:EchoProvider", "t", "1"),
    Plugin("llmspell.providers", "mock", "llmspell_testing:EchoProvider", "t", "1"),
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LLMSPELL_") or name.endswith(("_API_KEY", "_BASE_URL", "USE_MOCK")):
            monkeypatch.delenv(name)


def service(providers: Any = None) -> ProviderService:
    config = {} if providers is None else {"providers": providers}
    return ProviderService(make_services(config, plugins=PLUGINS))


def settings_of(provider: Provider) -> ProviderSettings:
    while hasattr(provider, "_inner"):
        provider = provider._inner
    return provider._settings  # type: ignore[attr-defined]


def resolved(providers: ProviderService, model: str | None, **more: Any) -> tuple[str, str, str]:
    provider, name = providers.resolve(model, **more)
    settings = settings_of(provider)
    return settings.name, name, settings.base_url or ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ModelText("m")),
        (" openai/m ", ModelText("m", "openai")),
        ("together/meta-llama/Llama-3", ModelText("meta-llama/Llama-3", "together")),
        ("a/b/c", ModelText("c", "a/b")),
        ("rig/openai/gpt-4", ModelText("gpt-4", "openai")),
        ("openai/m@http://h:1/v1", ModelText("m", "openai", "http://h:1/v1")),
        ("m@https://user:pw@h/v1", ModelText("m", None, "https://user:pw@h/v1")),
        ("llama3:8b", ModelText("llama3:8b")),
        ("x@y", ModelText("x@y")),
    ],
)
def test_a_model_text_is_read(text: str, expected: ModelText) -> None:
    made = ModelText.parse(text, {"together", "openai"})
    assert made == expected
    assert ModelText.parse(str(made), {"together", "openai"}) == expected


@pytest.mark.parametrize(
    "text", ["", "   ", "openai/", "/m", "@http://h", "openai/@http://h", "a/b/"]
)
def test_an_empty_part_of_a_model_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"empty"):
        ModelText.parse(text)


def test_both_nestings_are_one_and_the_deeper_wins() -> None:
    providers = service(
        {
            "default_provider": "b",
            "a": {"type": "openai", "api_base": "http://a/v1", "model": "flat", "api_key": "k" * 9},
            "providers": {
                "a": {"default_model": "deep"},
                "b": {"provider_type": "custom", "endpoint": "http://b/v1", "default_model": "bm"},
            },
        }
    )
    assert resolved(providers, None) == ("b", "bm", "http://b/v1")
    assert resolved(providers, None, provider="a") == ("a", "deep", "http://a/v1")
    assert resolved(providers, "a/x/y") == ("a", "x/y", "http://a/v1")
    assert resolved(providers, "x/y", provider="a") == ("a", "x/y", "http://a/v1")
    assert resolved(providers, "z") == ("b", "z", "http://b/v1")
    assert [info.name for info in providers.list()] == ["a", "b"]


def test_an_address_of_the_text_beats_configuration_and_one_given_beats_both() -> None:
    providers = service({"a": {"base_url": "http://a/v1"}})
    assert resolved(providers, "a/m@http://t/v1")[2] == "http://t/v1"
    assert resolved(providers, "a/m@http://t/v1", base_url="http://g/v1")[2] == "http://g/v1"


def test_every_key_of_a_table_has_its_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "key-from-variable")
    monkeypatch.setenv("MY_HOST", "http://h/v1")
    providers = service(
        {
            "x": {
                "name": "named",
                "type": "openai",
                "api_base_env": "MY_HOST",
                "api_key_env": "MY_KEY",
                "default_model": "short",
                "model_aliases": {"short": "very-long-model-name"},
                "timeout": 5,
                "retry": {"max_retries": 7, "initial_delay_ms": 10},
                "headers": {"X-A": "${MY_KEY}"},
                "temperature": 0.3,
                "max_tokens": 11,
                "defaults": {"seed": 1},
                "context_window": 5000,
                "something": "else",
            }
        }
    )
    provider, model = providers.resolve(None, provider="named")
    assert model == "very-long-model-name"
    assert settings_of(provider) == ProviderSettings(
        "named",
        "openai",
        "http://h/v1",
        "key-from-variable",
        "short",
        5.0,
        7,
        {"X-A": "key-from-variable"},
        {
            "defaults": {"seed": 1, "temperature": 0.3, "max_tokens": 11},
            "context_window": 5000,
            "something": "else",
            "api_key_env": "MY_KEY",
        },
    )
    info = providers.list()[0]
    assert (info.name, info.max_context_tokens, info.available) == ("named", 5000, True)
    assert info.models == ("short",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"openai": 5}, r"'providers\.openai' must be a table"),
        ({"openai": {"timeout_seconds": "long"}}, r"'providers\.openai\.timeout_seconds'"),
        ({"openai": {"timeout_seconds": 0}}, r"at least"),
        ({"openai": {"max_retries": True}}, r"max_retries' must be a number"),
        ({"openai": {"enabled": "yes"}}, r"enabled' must be true or false"),
        ({"openai": {"base_url": 5}}, r"base_url' must be text"),
        ({"openai": {"headers": []}}, r"headers' must be a table"),
        ({"openai": {"retry": {"backoff_multiplier": 0.1}}}, r"backoff_multiplier"),
        ({"openai": {"pricing": 1}}, r"pricing' must be a table"),
        ({"openai": {"pricing": {"m": {"input": -1, "output": 1}}}}, r"pricing\.m' needs"),
        ({"openai": {"defaults": 1}}, r"defaults' must be a table"),
        ([], r"'providers' must be a table"),
    ],
)
def test_a_wrong_table_names_its_key(table: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        service(table).resolve("openai/m")


def test_keys_come_from_the_strongest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**table: Any) -> str | None:
        return settings_of(service({"openai": table}).resolve("openai/m")[0]).api_key

    assert key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "conventional")
    assert key() == "conventional"
    monkeypatch.setenv("LLMSPELL_OPENAI_API_KEY", "ours")
    assert key() == "ours"
    monkeypatch.setenv("NAMED", "named")
    assert key(api_key_env="NAMED") == "named"
    assert key(api_key="written", api_key_env="NAMED") == "written"
    assert key(api_key="env:NAMED") == "named"
    assert key(api_key="${NOT_SET:-fallback}") == "fallback"
    assert key(api_key="${NOT_SET}") == "ours"
    monkeypatch.setenv("LLMSPELL_PROVIDER_OPENAI_API_KEY", "strongest")
    assert key(api_key="written") == "strongest"


def test_a_vendors_key_does_not_go_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-vendor-key")
    providers = service({"local": {"type": "openai", "base_url": "http://localhost:1/v1"}})
    assert settings_of(providers.resolve("local/m")[0]).api_key is None
    assert settings_of(providers.resolve("openai/m")[0]).api_key == "sk-vendor-key"


def test_the_environment_alone_makes_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service().list() == []
    assert service().default() is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1")
    monkeypatch.setenv("LLMSPELL_OPENAI_MODEL", "llama")
    monkeypatch.setenv("LLMSPELL_PROVIDER_VLLM_BASE_URL", "http://v/v1")
    monkeypatch.setenv("LLMSPELL_VLLM_TIMEOUT", "7.5")
    monkeypatch.setenv("LLMSPELL_VLLM_MAX_RETRIES", "1")
    providers = service()
    assert [info.name for info in providers.list()] == ["openai", "vllm"]
    default = providers.default()
    assert default is not None
    assert (default.name, default.available, default.default_model) == ("openai", True, "llama")
    assert resolved(providers, None) == ("openai", "llama", "http://localhost:9/v1")
    made = settings_of(providers.resolve("vllm/x")[0])
    assert (made.timeout_seconds, made.max_retries) == (7.5, 1)


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_OPENAI_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="LLMSPELL_OPENAI_TIMEOUT: 'soon'"):
        service().resolve("openai/m")


def test_a_vendor_that_is_not_built_says_what_is() -> None:
    for text in ("anthropic/claude", "groq/llama", "anthropic/c@http://h/v1"):
        name = text.partition("/")[0]
        with pytest.raises(ConfigurationError, match=f"Unsupported provider '{name}'") as caught:
            service().resolve(text)
        assert "openai" in (caught.value.hint or "")
        assert caught.value.code == "PROVIDER_UNSUPPORTED"


def test_a_misspelt_provider_gets_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match="Unsupported provider 'opnai'") as caught:
        service().resolve("opnai/m")
    assert "Did you mean 'openai'?" in (caught.value.hint or "")


def test_a_compatible_vendor_works_at_a_configured_address() -> None:
    assert resolved(service(), "groq/l@http://h/v1") == ("groq", "l", "http://h/v1")


@pytest.mark.parametrize("model", [None, ""])
def test_no_model_at_all_is_told(model: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"Model is required|cannot be empty"):
        service().resolve(model)
    with pytest.raises(ConfigurationError, match="Model not specified for provider 'x'"):
        service({"x": {"base_url": "http://h"}}).resolve(None, provider="x")


def test_doubles_are_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service().default() is None
    assert resolved_name(service(), "echo/anything") == ("echo", "anything")
    configured = service({"echo": {}}).default()
    assert configured is not None
    assert configured.name == "echo"
    monkeypatch.setenv("USE_MOCK", "1")
    providers = service({"openai": {"api_key": "k" * 10}})
    default = providers.default()
    assert default is not None
    assert default.name == "mock"
    assert resolved_name(providers, None) == ("mock", "mock-model")


def resolved_name(providers: ProviderService, model: str | None) -> tuple[str, str]:
    provider, name = providers.resolve(model)
    return provider.name, name


def test_the_first_available_of_the_file_is_the_default() -> None:
    providers = service(
        {
            "anthropic": {"api_key": "x" * 9},
            "off": {"base_url": "http://off", "enabled": False},
            "openai": {},
            "b": {"base_url": "http://b"},
            "a": {"base_url": "http://a"},
        }
    )
    default = providers.default()
    assert default is not None
    assert default.name == "b"
    assert [(i.name, i.available) for i in providers.list()] == [
        ("a", True),
        ("anthropic", False),
        ("b", True),
        ("off", False),
        ("openai", False),
    ]
    with pytest.raises(ConfigurationError, match="switched off"):
        providers.resolve("off/m")


def test_instances_are_shared_by_name_address_and_key() -> None:
    providers = service({"a": {"base_url": "http://a"}})
    first, _ = providers.resolve("a/m")
    assert providers.resolve("a/other")[0] is first
    assert providers.resolve("a/m", base_url="http://b")[0] is not first
    assert providers.resolve("a/m", api_key="another-key")[0] is not first


def test_a_key_is_known_as_a_secret_once_it_is_used() -> None:
    services = make_services({}, plugins=PLUGINS)
    ProviderService(services).resolve("openai/m", api_key="sk-very-secret")
    assert services.secrets.redact("x sk-very-secret y") == "x <REDACTED> y"


def test_a_foreign_provider_type_is_used_like_ours() -> None:
    own = Plugin("llmspell.providers", "mine", "llmspell_testing:EchoProvider", "m", "1")
    services = Services({}, plugins=PluginIndex([own]))
    provider, model = ProviderService(services).resolve("mine/x")
    assert (provider.name, model) == ("mine", "x")


REQUEST = ChatRequest("gpt-4o-2024-08-06", (Message("user", "hi"),))


async def test_the_price_is_added_where_it_is_known() -> None:
    providers = service({"openai": {"pricing": {"own": {"input": 1, "output": 2}}}})
    composed, _ = providers.resolve("openai/m", api_key="k" * 9)
    priced = composed._inner._inner  # type: ignore[attr-defined]
    assert isinstance(priced, Priced)
    prices: PriceList = priced._prices
    usage = Usage(1000, 1000, cached_tokens=400)

    def cost(model: str) -> float | None:
        made = prices.priced(usage, model)
        return None if made is None else made.cost

    assert cost("gpt-4o-2024-08-06") == pytest.approx(0.6 * 0.0025 + 0.4 * 0.00125 + 0.01)
    assert cost("gpt-4") == pytest.approx(0.03 + 0.06)
    assert cost("own") == 3.0
    assert cost("gpt-unknown") is None
    assert prices.priced(None, "gpt-4") is None
    elsewhere, _ = providers.resolve("openai/m", base_url="http://h")
    assert elsewhere._inner._inner._prices.priced(usage, "gpt-4") == usage  # type: ignore[attr-defined]


async def test_a_priced_answer_costs_by_its_own_model_else_by_the_one_asked_for() -> None:
    from llmspell_providers._prices import Price

    def priced(*prices: str) -> Priced:
        reply = Reply("x", usage=Usage(1000, 0))
        script = ScriptedProvider(reply, reply)
        return Priced(script, PriceList({name: Price(0.5, 1) for name in prices}))

    known = priced("gpt-4o")
    whole = await known.chat(REQUEST, make_context())
    assert whole.usage == Usage(1000, 0, cost=0.5)
    chunks = [chunk async for chunk in known.stream(REQUEST, make_context())]
    assert chunks == [ChatChunk("x"), ChatChunk(response=whole)]
    assert (await priced().chat(REQUEST, make_context())).usage == Usage(1000, 0)


def test_the_order_of_the_wrappers_is_what_it_says() -> None:
    provider, _ = service({"a": {"base_url": "http://a"}}).resolve("a/m")
    order = []
    while hasattr(provider, "_inner"):
        order.append(type(provider))
        provider = provider._inner
    assert order == [Recorded, Ending, Priced, Retrying]


class Naps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def retrying(script: ScriptedProvider, naps: Naps) -> Retrying:
    return Retrying(script, RetryPolicy(jitter=0), sleep=naps, random=lambda: 0.5)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_that_may_pass_is_tried_again(stream: bool) -> None:
    naps = Naps()
    script = ScriptedProvider(
        ProviderError("down", kind="server"), RateLimitError("slow", retry_after=5), "fine"
    )
    provider = retrying(script, naps)
    if stream:
        chunks = [chunk async for chunk in provider.stream(REQUEST, make_context())]
        assert [chunk.text for chunk in chunks] == ["fine", ""]
    else:
        assert (await provider.chat(REQUEST, make_context())).content == "fine"
    assert naps == [1.0, 5.0]


async def test_a_keyless_server_that_is_not_there_is_not_waited_for() -> None:
    providers = service({"local": {"base_url": "http://127.0.0.1:9/v1"}})
    for key, expected in ((None, False), ("sk-some-key", True)):
        provider, _ = providers.resolve("local/m", api_key=key)
        assert provider._inner._inner._inner._when_unreachable is expected  # type: ignore[attr-defined]
    naps = Naps()
    script = ScriptedProvider(NetworkError("refused"), "never asked")
    with pytest.raises(NetworkError):
        await Retrying(script, RetryPolicy(), when_unreachable=False, sleep=naps).chat(
            REQUEST, make_context()
        )
    assert naps == []


async def test_a_garbled_answer_is_asked_for_once_more_and_not_twice() -> None:
    garbled = ProviderError("?", kind="protocol")
    script = ScriptedProvider(garbled, garbled, "never asked")
    with pytest.raises(ProviderError):
        await retrying(script, Naps()).chat(REQUEST, make_context())
    assert len(script.requests) == 2


async def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    naps = Naps()
    script = ScriptedProvider(
        Reply(pieces=("a", "b"), error=ProviderError("cut", kind="protocol")), "again"
    )
    seen: list[str] = []

    async def read() -> None:
        async for chunk in retrying(script, naps).stream(REQUEST, make_context()):
            seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ProviderError, match="cut"):
        await read()
    assert (seen, naps) == (["a", "b"], [])


async def test_no_retry_outlasts_the_deadline() -> None:
    naps = Naps()
    script = ScriptedProvider(RateLimitError("slow", retry_after=50), "late")
    with pytest.raises(RateLimitError):
        await retrying(script, naps).chat(REQUEST, make_context(deadline=Deadline(10)))
    assert naps == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signal_from_another_thread_ends_a_call(stream: bool) -> None:
    cancel = CancelSignal()
    context = make_context(cancel=cancel)
    provider = Ending(ScriptedProvider(Reply("x", after=asyncio.Event())))

    async def call() -> None:
        if not stream:
            await provider.chat(REQUEST, context)
            return
        async for _ in provider.stream(REQUEST, context):
            pass

    calling = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    thread = threading.Thread(target=cancel.cancel)
    thread.start()
    with pytest.raises(ExecutionCancelled):
        await asyncio.wait_for(calling, 5)
    thread.join()


async def test_the_deadline_of_the_execution_ends_a_call() -> None:
    provider = Ending(ScriptedProvider(Reply("x", after=asyncio.Event())))
    with pytest.raises(LLMTimeoutError, match="execution timed out"):
        await provider.chat(REQUEST, make_context(deadline=Deadline(0.01)))


async def test_a_recorded_call_replays_without_being_made() -> None:
    def script() -> ScriptedProvider:
        return ScriptedProvider(
            Reply("one", usage=Usage(3, 4, cost=0.5)), Reply(pieces=("t", "wo"))
        )

    made: list[ScriptedProvider] = []

    async def work(context: Any) -> tuple[ChatResponse, list[ChatChunk]]:
        made.append(script())
        provider = Recorded(made[-1])
        whole = await provider.chat(REQUEST, context)
        return whole, [chunk async for chunk in provider.stream(REQUEST, context)]

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(work, ledger)
    assert first == second
    assert [len(one.requests) for one in made] == [2, 0]
    chat, stream = (e for e in ledger.effects("run") if e.intent.kind == "model.chat")
    assert chat.outcome is not None
    assert (chat.outcome.tokens, chat.outcome.cost) == (7, 0.5)
    assert stream.outcome is not None
    assert (stream.outcome.tokens, stream.outcome.cost) == (15, 0.001)


async def test_a_key_never_reaches_the_ledger() -> None:
    async with LoopbackServer() as server:
        server.answer_json({"error": {"message": "bad key sk-topsecret"}}, status=401)
        services = make_services({}, plugins=PLUGINS)
        providers = ProviderService(services)
        provider, model = providers.resolve(f"openai/m@{server.url}", api_key="sk-topsecret")
        ledger = LedgerDouble()
        request = ChatRequest(model, (Message("user", "the key is sk-topsecret"),))
        with pytest.raises(ProviderError):
            await provider.chat(request, recording_context(ledger, services))
        await providers.aclose()
    written = "".join(
        f"{e.intent.request}{e.outcome.payload if e.outcome else ''}" for e in ledger.effects("run")
    )
    assert "sk-topsecret" not in written
    assert "<REDACTED>" in written


async def test_closing_closes_every_provider_and_raises_the_first_failure() -> None:
    class Broken(ScriptedProvider):
        async def aclose(self) -> None:
            raise OSError("stuck")

    providers = service()
    good, broken = ScriptedProvider(), Broken()
    providers._built = {("a",): Recorded(broken), ("b",): Recorded(good)}
    with pytest.raises(OSError, match="stuck"):
        await providers.aclose()
    assert good.closed
    await providers.aclose()


async def test_wrappers_pass_on_what_they_do_not_change() -> None:
    assert await Recorded(ScriptedProvider(name="s")).models() == [ModelInfo("s")]
