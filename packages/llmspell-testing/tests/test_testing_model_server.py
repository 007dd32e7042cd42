"""The server that plays model vendors, spoken to with nothing but the standard library."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from llmspell_core import Usage
from llmspell_testing import Call, Fault, Gate, Limits, ModelServer, Reply, model_vendors
from llmspell_testing.vendors import ShapeError, check, vector_of
from llmspell_testing.vendors._shapes import Many, Range, Tagged

pytest_plugins = ["llmspell_testing.fixtures"]

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def post(
    server: ModelServer, body: Any = HELLO, *, path: str = "/chat/completions", key: str | None = ""
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and decoded JSON (or the text) of an answer."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key or server.key}"
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    with closing(connection):
        connection.request("POST", server.vendor.path + path, data, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
    told = {name.lower(): value for name, value in reply.getheaders()}
    return reply.status, told, json.loads(text) if text.startswith("{") else text


def test_it_answers_in_the_order_of_the_script_and_shows_what_it_was_asked() -> None:
    with ModelServer("openai", "one", Reply("two", usage=Usage(3, 4))) as server:
        first, second = post(server), post(server, {**HELLO, "temperature": 0.5})
        assert server.remaining == 0
        server.calls[1].answered.wait_blocking()
    assert first[2]["choices"][0]["message"]["content"] == "one"
    assert second[2]["usage"]["total_tokens"] == 7
    call = server.calls[1]
    assert (call.operation, call.model, call.stream, call.text) == ("chat", "m", False, "Hello")
    assert call.body["temperature"] == 0.5


def test_an_answer_may_be_made_of_the_request() -> None:
    with ModelServer("openai") as server:
        server.answer_always(lambda call: f"You said {call.text}.")
        for _ in range(2):
            assert post(server)[2]["choices"][0]["message"]["content"] == "You said Hello."


def test_a_stream_is_one_event_a_word_with_the_usage_where_it_was_asked_for() -> None:
    wanted = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    with ModelServer("openai", "one two", "one two") as server:
        _, headers, text = post(server, wanted)
        events = [json.loads(line[6:]) for line in text.split("\n\n")[:-2]]
        plain = post(server, {**HELLO, "stream": True})[2]
    assert headers["content-type"] == "text/event-stream"
    deltas = [e["choices"][0]["delta"].get("content") for e in events if e["choices"]]
    assert deltas == ["", "one", " two", None]
    assert events[-1]["usage"]["prompt_tokens"] == 10
    assert text.endswith("data: [DONE]\n\n")
    assert '"prompt_tokens"' not in plain


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": 5}, "'model' must be a string"),
        ({"messages": []}, "'messages' has 0 items"),
        ({"max_token": 5}, "unknown parameter: 'max_token'"),
        ({"temperature": 3}, "'temperature' is 3"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "'messages[0].role' is 'bot'"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
            "must be a response to a preceding message",
        ),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is set"),
        ({"tool_choice": "required"}, "only allowed when 'tools' are specified"),
        ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
        ({"model": "o3", "max_tokens": 5}, "Use 'max_completion_tokens' instead"),
    ],
)
def test_a_request_the_vendor_would_refuse_is_refused_and_fails_the_test(
    change: dict[str, Any], words: str
) -> None:
    with ModelServer("openai", "never", strict=False) as server:
        status, _, body = post(server, {**HELLO, **change})
    assert (status, words in body["error"]["message"]) == (400, True), body
    with pytest.raises(AssertionError, match="1 wrong requests to 'openai'") as caught:
        server.verify()
    assert words in str(caught.value)
    assert server.calls == []


def test_calls_without_their_results_are_refused() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "And?"},
    ]
    with ModelServer("openai", strict=False) as server:
        status, _, body = post(server, {"model": "m", "messages": messages})
    assert status == 400
    assert "did not have response messages: ['c1']" in body["error"]["message"]
    assert len(server.violations) == 1


def test_what_is_not_json_or_nowhere_is_refused() -> None:
    with ModelServer("openai", strict=False) as server:
        assert post(server, "{broken")[0] == 400
        assert post(server, path="/nowhere")[0] == 400
    assert len(server.violations) == 2


@pytest.mark.parametrize("key", [None, "sk-other"])
def test_a_wrong_key_is_refused_and_is_no_mistake_of_the_test(key: str | None) -> None:
    with ModelServer("openai", "never") as server:
        status, _, body = post(server, key=key)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert server.remaining == 1


def test_a_call_too_many_fails_the_test() -> None:
    def ask_twice() -> None:
        with ModelServer("openai", "only") as server:
            assert [post(server)[0] for _ in range(2)] == [200, 400]

    with pytest.raises(AssertionError, match="no answer for call 2"):
        ask_twice()


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_in_the_tests_own_function_fails_the_test(stream: bool) -> None:
    def answer(call: Call) -> Reply:
        if stream:
            return Reply("x", usage="none")  # type: ignore[arg-type]
        raise KeyError("mine")

    wanted = {**HELLO, "stream": stream, "stream_options": {"include_usage": True}}
    body = wanted if stream else HELLO
    broken = pytest.raises((OSError, http.client.HTTPException))
    with ModelServer("openai", answer, strict=False) as server, broken:
        post(server, body)
    with pytest.raises((KeyError, AttributeError)):
        server.verify()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("rate_limit", 429, "rate_limit_exceeded"),
        ("context_length", 400, "context_length_exceeded"),
        ("quota", 429, "insufficient_quota"),
        ("overloaded", 503, None),
    ],
)
def test_a_refusal_has_the_vendors_status_body_and_headers(
    fault: str, status: int, code: str | None
) -> None:
    limits = Limits(requests=60, requests_left=0, requests_reset=1.5)
    step = Fault(fault, retry_after=2.5, limits=limits, headers={"x-mine": "1"})
    with ModelServer("openai", step) as server:
        got, headers, body = post(server)
    assert (got, body["error"]["code"]) == (status, code)
    assert headers["retry-after"] == "2.5"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1.5s"
    assert headers["x-mine"] == "1"


def test_limits_may_be_told_with_every_answer() -> None:
    with ModelServer("openai", "a", limits=Limits(tokens=100, tokens_left=40)) as server:
        headers = post(server)[1]
    assert headers["x-ratelimit-remaining-tokens"] == "40"
    assert headers["x-request-id"].startswith("req_")


def test_a_fault_or_a_vendor_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no fault 'explosion'; there are auth, "):
        Fault("explosion")
    with pytest.raises(ValueError, match="no vendor 'acme'; there are anthropic, "):
        ModelServer("acme")


@pytest.mark.parametrize("kind", ["cut", "ended"])
def test_a_cut_in_the_middle_comes_after_half_of_the_call(kind: str) -> None:
    fault = Fault(kind, Reply("Let me see", tools=[("add", {"number": 12345})]))
    with ModelServer("openai", fault) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
        body = json.dumps({**HELLO, "stream": True})
        connection.request("POST", "/v1/chat/completions", body, headers)
        reply = connection.getresponse()
        if kind == "cut":
            with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
                reply.read()
            text = getattr(caught.value, "partial", b"").decode()
        else:
            text = reply.read().decode()
        connection.close()
    assert "[DONE]" not in text
    assert "12345" not in text
    if kind == "ended":
        assert '"name": "add"' in text


def test_models_that_are_not_there_are_refused_where_they_were_named() -> None:
    with ModelServer("openai", "x", models=["a", "b"]) as server:
        status, _, body = post(server)
        assert post(server, {**HELLO, "model": "b"})[0] == 200
    assert (status, body["error"]["code"]) == (404, "model_not_found")


def test_vectors_are_the_same_for_the_same_words_in_every_process() -> None:
    with ModelServer("openai") as server:
        body = {"model": "m", "input": ["red green", "green red", "blue"]}
        rows = post(server, body, path="/embeddings")[2]["data"]
        server.answer(Reply(data=[[1.0, 2.0]]), Fault("server"), to="embed")
        scripted = post(server, {"model": "m", "input": "x"}, path="/embeddings")[2]["data"]
        assert post(server, {"model": "m", "input": "x"}, path="/embeddings")[0] == 500
    assert rows[0]["embedding"] == rows[1]["embedding"] == vector_of("red green", 64)
    assert rows[2]["embedding"] != rows[0]["embedding"]
    assert scripted[0]["embedding"] == [1.0, 2.0]


def test_another_process_is_led_there_by_the_environment() -> None:
    code = (
        "import json, os, urllib.request as u\n"
        "r = u.Request(os.environ['OPENAI_BASE_URL'] + '/models',"
        " headers={'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']})\n"
        "print([m['id'] for m in json.load(u.urlopen(r))['data']])"
    )
    with ModelServer("openai", models=["a", "b"]) as server:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=server.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "['a', 'b']"
        assert server.settings == {
            "provider_type": "openai",
            "base_url": server.environment["OPENAI_BASE_URL"],
            "api_key": server.key,
        }


def test_calls_are_waited_for_on_a_thread() -> None:
    gate = Gate()
    with ModelServer("openai", Reply("Hi", after=gate)) as server:
        asking = threading.Thread(target=post, args=(server,))
        asking.start()
        call = server.wait_for_call()
        assert not call.answered.is_set()
        gate.open()
        call.answered.wait_blocking()
        asking.join(20)
        with pytest.raises(TimeoutError, match="no call number 2"):
            server.wait_for_call(0.01)


async def test_calls_are_waited_for_on_a_loop_and_a_client_that_leaves_is_seen() -> None:
    async with ModelServer("openai", Fault("hang")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url[-5:].strip(":")))
        body = json.dumps(HELLO).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {server.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        call = await server.next_call()
        assert not call.disconnected.is_set()
        writer.close()
        await asyncio.wait_for(call.disconnected.wait(), 20)
        assert not call.answered.is_set()
        del reader


def test_the_fixture_starts_servers_and_stops_them(
    model_server: Callable[..., ModelServer],
) -> None:
    one, two = model_server("openai", "one"), model_server("ollama")
    assert post(one)[0] == 200
    assert one.url != two.url


def test_every_vendor_can_be_played() -> None:
    for name in model_vendors():
        with ModelServer(name) as server:
            assert server.vendor.name == name
            assert server.base_url.startswith(server.url)


async def test_a_gate_lets_threads_and_loops_through_once_it_is_open() -> None:
    gate = Gate()
    waiting = [asyncio.ensure_future(gate.wait()) for _ in range(3)]
    blocked = asyncio.create_task(asyncio.to_thread(gate.wait_blocking))
    with pytest.raises(TimeoutError, match="nobody opened the gate"):
        gate.wait_blocking(0.001)
    waiting[0].cancel()
    await asyncio.to_thread(gate.open)
    await asyncio.wait_for(asyncio.gather(*waiting[1:], blocked, gate.wait()), 20)
    assert gate.is_set()


PART = Tagged("kind", {"text": {"kind": str, "text": str}, "none": {"kind": str}})


@pytest.mark.parametrize(
    ("value", "shape", "words"),
    [
        ({}, {"a": str}, "missing required parameter: 'a'"),
        ({"a": 1}, {"a": str}, "'a' must be a string, not number"),
        ({"a": True}, {"a": int}, "'a' must be a number, not boolean"),
        ({"a": None}, {"a": float}, "'a' must be a number, not null"),
        ({"a": "x"}, {"a": None}, "'a' must be null, not string"),
        ({"a": []}, {"a": dict}, "'a' must be an object, not array"),
        ({"a": "z"}, {"a": {"x", "y"}}, "'a' is 'z'; supported values are: 'x', 'y'"),
        ({"a": 1}, {"a": {True}}, "'a' is 1"),
        ({"a": 5}, {"a": Range(0, 2)}, "'a' is 5; it must be from 0 to 2"),
        ({"a": 1.5}, {"a": Range(0, 2, whole=True)}, "'a' must be a number"),
        ({"a": [1, "x"]}, {"a": [int]}, "'a[1]' must be a number"),
        ({"a": []}, {"a": Many(int, 1, 3)}, "'a' has 0 items; it must have 1 to 3"),
        ({"a": {"kind": "text"}}, {"a": PART}, "missing required parameter: 'a.text'"),
        ({"a": {"kind": "other"}}, {"a": PART}, "'a.kind' is 'other'"),
        ({"a": {}}, {"a": PART}, "missing required parameter: 'a.kind'"),
        ({"a": [1]}, {"a": (str, [str])}, "'a[0]' must be a string"),
        ([], {"a": str}, "'body' must be an object, not array"),
        ({"b": 1}, {"a?": str}, "unknown parameter: 'b'"),
    ],
)
def test_a_value_of_another_shape_is_told_with_its_place(
    value: Any, shape: Any, words: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        check(value, shape)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"a": 1, "b": [None, "x"]}, {"a": float, "b": [(str, None)], "c?": object}),
        ({"a": {"kind": "none"}}, {"a": PART}),
        (5, object),
    ],
)
def test_a_value_of_the_shape_is_let_through(value: Any, shape: Any) -> None:
    check(value, shape)
