"""What every `Provider` keeps."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    Message,
    NetworkError,
    Parameter,
    Provider,
    ProviderError,
    RateLimitError,
    ToolSchema,
    canonical,
    from_canonical,
)
from llmspell_testing._worlds import make_context

FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}


class ProviderSuite:
    """Override `provider`: one that can answer, from a server on this machine or from itself.

    Override `failing` with one whose back end refuses every call, if there is such a thing.
    """

    model = "test-model"
    """The model that is asked for."""

    extra: ClassVar[dict[str, Any]] = {"nested": {"list": [1]}}
    """What a request has besides, for a server that takes it."""

    @pytest.fixture
    def provider(self) -> Provider:
        """A provider that answers every request."""
        raise NotImplementedError("override the fixture 'provider'")

    @pytest.fixture
    def failing(self) -> Provider | None:
        """A provider whose back end refuses; None when it cannot fail."""
        return None

    @pytest.fixture
    def context(self) -> ExecutionContext:
        """The context of the calls."""
        return make_context()

    def request_for(self, text: str) -> ChatRequest:
        """A request with one user message."""
        return ChatRequest(self.model, (Message("user", text),))

    def test_it_has_a_name(self, provider: Provider) -> None:
        assert isinstance(provider.name, str)
        assert provider.name

    async def test_a_stream_ends_with_the_whole_response(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        request = self.request_for("Say something in a few words.")
        chunks = [chunk async for chunk in provider.stream(request, context)]
        whole = [chunk.response for chunk in chunks if chunk.response is not None]
        assert len(whole) == 1
        assert chunks[-1].response is not None
        assert "".join(chunk.text for chunk in chunks) == whole[0].content
        _check_response(whole[0])

    async def test_chat_gives_the_whole_response(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        response = await provider.chat(self.request_for("Hello"), context)
        assert isinstance(response, ChatResponse)
        assert response.content or response.tool_requests
        _check_response(response)

    async def test_a_response_survives_the_ledger(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        response = await provider.chat(self.request_for("Hello"), context)
        kept = from_canonical(canonical(ChatChunk(response=response).to_dict()))
        assert ChatChunk.from_dict(kept) == ChatChunk(response=response)

    async def test_the_request_is_not_changed(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        schema = ToolSchema("lookup", "Looks it up", (Parameter("key", "string", required=True),))
        request = ChatRequest(
            self.model,
            (Message("system", "Be brief."), Message("user", "Hello")),
            tools=(schema,),
            temperature=0.5,
            max_tokens=50,
            extra=self.extra,
        )
        before = canonical(request.to_dict())
        await provider.chat(request, context)
        assert canonical(request.to_dict()) == before

    @pytest.mark.parametrize(
        "text", ["ünïcode 文字 \U0001f511", "'\"\\ \n\t", "a\u2028b", "w " * 5000]
    )
    async def test_awkward_text_is_sent(
        self, provider: Provider, context: ExecutionContext, text: str
    ) -> None:
        _check_response(await provider.chat(self.request_for(text), context))

    async def test_calls_do_not_mix(self, provider: Provider, context: ExecutionContext) -> None:
        requests = [self.request_for(f"question {n}") for n in range(10)]
        together = await asyncio.gather(*(provider.chat(one, context) for one in requests))
        for response in together:
            _check_response(response)

    async def test_a_stream_left_early_leaves_a_usable_provider(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        stream = provider.stream(self.request_for("Say a few words."), context)
        async for _ in stream:
            break
        close = getattr(stream, "aclose", None)
        assert close is not None, "a stream must be closable"
        await close()
        _check_response(await provider.chat(self.request_for("Again"), context))

    async def test_a_cancelled_call_leaves_a_usable_provider(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        for turns in range(3):
            task = asyncio.ensure_future(provider.chat(self.request_for("Hello"), context))
            for _ in range(turns):
                await asyncio.sleep(0)
            was_done = task.done()
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert was_done or isinstance(outcome, asyncio.CancelledError)
        _check_response(await provider.chat(self.request_for("Again"), context))

    async def test_a_cancelled_execution_asks_nothing(
        self, provider: Provider, context: ExecutionContext
    ) -> None:
        context.cancel.cancel("stop")
        with pytest.raises((ExecutionCancelled, asyncio.CancelledError)):
            await provider.chat(self.request_for("Hello"), context)

    async def test_a_refusal_is_an_error_and_never_an_answer(
        self, failing: Provider | None, context: ExecutionContext
    ) -> None:
        if failing is None:
            pytest.skip("it cannot fail")
        expected = (ProviderError, NetworkError, RateLimitError, LLMTimeoutError)
        with pytest.raises(expected) as caught:
            await failing.chat(self.request_for("Hello"), context)
        assert isinstance(caught.value, LLMSpellError)
        assert caught.value.message
        chunks: list[ChatChunk] = []

        async def read() -> None:
            stream = failing.stream(self.request_for("Hello"), context)
            chunks.extend([chunk async for chunk in stream])

        with pytest.raises(expected):
            await read()
        assert [chunk for chunk in chunks if chunk.response is not None] == []

    async def test_models_are_sorted_or_unsupported(self, provider: Provider) -> None:
        try:
            models = [model.id for model in await provider.models()]
        except ProviderError as error:
            kind, models = error.kind, []
        else:
            kind = "unsupported"
        assert kind == "unsupported"
        assert models == sorted(models)

    async def test_closing_twice_is_harmless(self, provider: Provider) -> None:
        await provider.aclose()
        await provider.aclose()


def _check_response(response: ChatResponse) -> None:
    assert response.model
    assert response.finish_reason in FINISH_REASONS
    assert len({request.id for request in response.tool_requests}) == len(response.tool_requests)
    if response.usage is not None:
        usage = response.usage
        assert min(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) >= 0
        assert usage.cost is None or usage.cost >= 0
