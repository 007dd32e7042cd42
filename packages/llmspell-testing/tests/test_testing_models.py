"""The echo model and the scripted model."""

import asyncio
import json
import subprocess
import sys

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    ExecutionCancelled,
    Message,
    ModelInfo,
    Parameter,
    PluginIndex,
    ProviderError,
    ProviderSettings,
    ToolRequest,
    ToolSchema,
    Usage,
)
from llmspell_testing import (
    EchoProvider,
    Reply,
    ScriptedProvider,
    ScriptUsedUp,
    make_context,
    make_services,
)

CALCULATOR = ToolSchema("calculator", "Calculates", (Parameter("input", "string"),))
FILE_TOOL = ToolSchema("file-operations", "Files")


@pytest.fixture
def echo() -> EchoProvider:
    return EchoProvider(ProviderSettings("echo", "echo"), make_services())


def asked(*messages: Message, **fields) -> ChatRequest:
    return ChatRequest("echo", messages, **fields)


async def test_echo_streams_word_by_word(echo: EchoProvider) -> None:
    request = asked(Message("system", "Be brief."), Message("user", "two  words\n"))
    chunks = [chunk async for chunk in echo.stream(request, make_context())]
    assert [chunk.text for chunk in chunks] == ["Echo: ", "two  ", "words\n", ""]
    assert chunks[-1].response == ChatResponse(
        "Echo: two  words\n", "echo", usage=Usage(4, 3, cost=0.0, estimated=True)
    )


@pytest.mark.parametrize("text", ["", " ", "\n\n", "  leading", "trailing  ", "ünïcode \U0001f511"])
async def test_echo_loses_no_character(echo: EchoProvider, text: str) -> None:
    response = await echo.chat(asked(Message("user", text)), make_context())
    assert response.content == f"Echo: {text}"


async def test_echo_answers_the_last_user_message(echo: EchoProvider) -> None:
    request = asked(
        Message("user", "first"), Message("assistant", "Echo: first"), Message("user", "second")
    )
    assert (await echo.chat(request, make_context())).content == "Echo: second"
    assert (await echo.chat(asked(), make_context())).content == "Echo: "


async def test_echo_asks_for_the_tool_and_answers_with_its_result(echo: EchoProvider) -> None:
    question = Message("user", 'Please.\n/tool calculator {"input": "6*7"}\nThank you.')
    first = await echo.chat(asked(question, tools=(CALCULATOR,)), make_context())
    call = ToolRequest("call_1", "calculator", '{"input": "6*7"}')
    assert (first.content, first.tool_requests, first.finish_reason) == ("", (call,), "tool_calls")
    second = await echo.chat(
        asked(
            question,
            Message("assistant", "", (call,)),
            Message("tool", "42", tool_request_id="call_1"),
            tools=(CALCULATOR,),
        ),
        make_context(),
    )
    assert (second.content, second.tool_requests, second.finish_reason) == ("42", (), "stop")


async def test_echo_asks_for_several_tools_at_once(echo: EchoProvider) -> None:
    text = '/tool calculator {"input": "1"}\n/tool FILE_OPERATIONS\n/tool calculator {broken'
    response = await echo.chat(
        asked(Message("user", text), tools=(CALCULATOR, FILE_TOOL)), make_context()
    )
    assert [(r.id, r.name, r.arguments) for r in response.tool_requests] == [
        ("call_1", "calculator", '{"input": "1"}'),
        ("call_2", "file-operations", "{}"),
        ("call_3", "calculator", "{broken"),
    ]
    results = [Message("tool", text, tool_request_id="x") for text in ("one", "two", "three")]
    request = asked(
        Message("user", text), Message("assistant", "", response.tool_requests), *results
    )
    assert (await echo.chat(request, make_context())).content == "one\ntwo\nthree"


async def test_echo_numbers_calls_through_the_conversation(echo: EchoProvider) -> None:
    earlier = (
        Message("user", "/tool calculator {}"),
        Message("assistant", "", (ToolRequest("call_1", "calculator", "{}"),)),
        Message("tool", "1", tool_request_id="call_1"),
        Message("assistant", "1"),
    )
    request = asked(*earlier, Message("user", "/tool calculator {}"), tools=(CALCULATOR,))
    response = await echo.chat(request, make_context())
    assert [r.id for r in response.tool_requests] == ["call_2"]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("/tool unknown {}", {"tools": (CALCULATOR,)}),
        ("/tool calculator {}", {}),
        ("/tool calculator {}", {"tools": (CALCULATOR,), "tool_choice": "none"}),
        ("say /tool calculator {}", {"tools": (CALCULATOR,)}),
        ("/toolcalculator {}", {"tools": (CALCULATOR,)}),
        ("/tool", {"tools": (CALCULATOR,)}),
    ],
)
async def test_echo_only_asks_for_what_is_offered(echo: EchoProvider, text: str, fields) -> None:
    response = await echo.chat(asked(Message("user", text), **fields), make_context())
    assert (response.content, response.tool_requests) == (f"Echo: {text}", ())


async def test_echo_stops_at_max_tokens(echo: EchoProvider) -> None:
    request = asked(Message("user", "one two three"), max_tokens=2)
    response = await echo.chat(request, make_context())
    assert (response.content, response.finish_reason) == ("Echo: one ", "length")
    exact = await echo.chat(asked(Message("user", "one"), max_tokens=2), make_context())
    assert (exact.content, exact.finish_reason) == ("Echo: one", "stop")


async def test_echo_stops_when_the_execution_is_cancelled(echo: EchoProvider) -> None:
    context = make_context()
    seen = []

    async def read() -> None:
        async for chunk in echo.stream(asked(Message("user", "many words " * 100)), context):
            seen.append(chunk.text)
            if len(seen) == 3:
                context.cancel.cancel("enough")

    with pytest.raises(ExecutionCancelled):
        await read()
    assert len(seen) == 3


async def test_echo_lets_others_run_between_words(echo: EchoProvider) -> None:
    order: list[str] = []

    async def read(name: str) -> None:
        async for chunk in echo.stream(asked(Message("user", "a b c")), make_context()):
            order.append(name + chunk.text.strip())  # noqa: PERF401

    await asyncio.gather(read("1"), read("2"))
    assert order[:4] == ["1Echo:", "2Echo:", "1a", "2a"]


async def test_echo_is_installed_under_two_names() -> None:
    index = PluginIndex()
    for name in ("echo", "mock"):
        provider = index.load("llmspell.providers", name)(
            ProviderSettings(name, name, default_model=f"{name}-model"), make_services()
        )
        assert (provider.name, await provider.models()) == (name, [ModelInfo(f"{name}-model")])


def test_echo_and_the_doubles_need_no_pytest() -> None:
    code = (
        "import sys, json, llmspell_testing as t\n"
        "for name in ('EchoProvider', 'ScriptedProvider', 'BackendDouble', 'LoopbackServer',"
        " 'HostDouble', 'ToolsDouble', 'EventsDouble', 'VectorsDouble'): getattr(t, name)\n"
        "print(json.dumps([m for m in ('pytest', '_pytest', 'hypothesis') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


async def test_scripted_answers_step_by_step_and_remembers_the_requests() -> None:
    provider = ScriptedProvider(
        "plain",
        Reply("with usage", usage=Usage(1, 2)),
        Reply(tools=[("calculator", {"input": "1"}), ("other", "not json")]),
        lambda request: f"you said {request.messages[-1].content}",
    )
    requests = [asked(Message("user", str(n))) for n in range(4)]
    answers = [await provider.chat(request, make_context()) for request in requests]
    assert [(a.content, a.finish_reason) for a in answers] == [
        ("plain", "stop"),
        ("with usage", "stop"),
        ("", "tool_calls"),
        ("you said 3", "stop"),
    ]
    assert answers[1].usage == Usage(1, 2)
    assert answers[2].tool_requests == (
        ToolRequest("call_1", "calculator", '{"input": "1"}'),
        ToolRequest("call_2", "other", "not json"),
    )
    assert provider.requests == requests
    assert provider.remaining == 0


async def test_scripted_fails_loudly_when_it_is_used_up() -> None:
    provider = ScriptedProvider("only")
    await provider.chat(asked(Message("user", "1")), make_context())
    with pytest.raises(ScriptUsedUp, match="asked 2 times, its script has 1 answers"):
        await provider.chat(asked(Message("user", "2")), make_context())


async def test_scripted_raises_the_errors_of_its_script() -> None:
    broken = ProviderError("down", kind="server")
    provider = ScriptedProvider(broken, Reply("half of it", error=broken))
    with pytest.raises(ProviderError) as first:
        await provider.chat(asked(Message("user", "1")), make_context())
    assert first.value is broken
    seen = []

    async def read() -> None:
        async for chunk in provider.stream(asked(Message("user", "2")), make_context()):
            seen.append(chunk.text)  # noqa: PERF401

    with pytest.raises(ProviderError):
        await read()
    assert seen == ["half of it"]


async def test_scripted_waits_for_its_events() -> None:
    begin, go_on = asyncio.Event(), asyncio.Event()
    provider = ScriptedProvider(Reply(pieces=("a", "b", "c"), after=begin, between=go_on))
    seen: list[str] = []
    first = asyncio.Event()

    async def read() -> None:
        async for chunk in provider.stream(asked(Message("user", "1")), make_context()):
            seen.append(chunk.text)
            first.set()

    task = asyncio.ensure_future(read())
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == []
    begin.set()
    await asyncio.wait_for(first.wait(), 10)
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == ["a"]
    go_on.set()
    await asyncio.wait_for(task, 10)
    assert seen == ["a", "b", "c", ""]


async def test_scripted_remembers_that_it_was_closed() -> None:
    provider = ScriptedProvider()
    await provider.aclose()
    assert provider.closed
    assert await provider.models() == [ModelInfo("scripted")]
