"""`Asking`: how the model of an execution is asked, with its tools and the form of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from llmspell_core import ChatRequest, ChatResponse, Message, ProviderError
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_agents._toolbox import Toolbox
    from llmspell_core import ExecutionContext, Provider

Tell = Callable[[str, str, Any], Awaitable[None]]
"""Kind, text and data of a chunk."""


class Asking:
    """Asks one model.

    Args:
        config: The agent's, with what this call overrides.
        provider: Who is asked.
        model: The model's name there.
        toolbox: The tools, None for none.
        tell: Where pieces of an answer go; None asks for whole answers.
    """

    def __init__(
        self,
        config: AgentConfig,
        provider: Provider,
        model: str,
        toolbox: Toolbox | None,
        tell: Tell | None,
    ) -> None:
        self._config = config
        self.provider = provider
        self.model = model
        self._schemas = () if toolbox is None else toolbox.schemas
        self._choice = None if toolbox is None else toolbox.exported(config.tool_choice)
        self._prompted = config.tool_calling == "prompt" and bool(self._schemas)
        self._schema_told = False
        self._tell = tell

    async def ask(
        self,
        messages: Sequence[Message],
        context: ExecutionContext,
        *,
        offer: bool,
        first: bool,
    ) -> ChatResponse:
        """The answer to *messages*.

        A provider that refuses the form of an answer is asked again with the form in the prompt.

        Args:
            messages: All of them.
            context: The execution, with the deadline of this call.
            offer: Whether tools may be called.
            first: Whether nothing was called yet: a choice of tools holds for then.

        Raises:
            LLMSpellError: as the provider raises.
        """
        try:
            return await self._once(messages, context, offer=offer, first=first)
        except ProviderError as error:
            if self._schema_told or not self._refuses_form(error):
                raise _advised(error, self._schemas) from error.__cause__
        self._schema_told = True
        return await self._once(messages, context, offer=offer, first=first)

    async def plainly(self, messages: Sequence[Message], context: ExecutionContext) -> ChatResponse:
        """The answer to *messages*, as text, without tools and without streaming."""
        config = self._config
        request = ChatRequest(
            self.model,
            tuple(messages),
            timeout_seconds=config.timeout_seconds,
            retries=config.retries,
            extra=dict(config.settings),
        )
        return await self.provider.chat(request, context)

    def _refuses_form(self, error: ProviderError) -> bool:
        if self._config.output_schema is None:
            return False
        words = error.message.lower()
        about = any(word in words for word in ("response_format", "json_schema", "schema", "json"))
        return error.kind == "unsupported" or (error.kind == "invalid_request" and about)

    async def _once(
        self, messages: Sequence[Message], context: ExecutionContext, *, offer: bool, first: bool
    ) -> ChatResponse:
        request = self._request(messages, offer=offer, first=first)
        if self._tell is None:
            response = await self.provider.chat(request, context)
            return self._understood(response, messages) if self._prompted else response
        return await self._streamed(request, messages, context)

    def _request(self, messages: Sequence[Message], *, offer: bool, first: bool) -> ChatRequest:
        config = self._config
        called = not offer and any(message.tool_requests for message in messages)
        choice = (self._choice if first else None) if offer else ("none" if called else None)
        schemas = self._schemas if offer or called else ()
        told: list[str] = []
        if self._prompted:
            from llmspell_agents._prompted import flattened, instructions

            if offer:
                told.append(instructions(self._schemas, choice))
            messages, schemas, choice = flattened(messages), (), None
        schema = config.output_schema
        if schema is not None and self._schema_told:
            told.append(schema.told())
        return ChatRequest(
            self.model,
            tuple(_with_system(messages, told) if told else messages),
            schemas,
            tool_choice=choice,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            top_p=config.top_p,
            stop=config.stop,
            seed=config.seed,
            response_format=None if schema is None or self._schema_told else schema.response_format,
            timeout_seconds=config.timeout_seconds,
            retries=config.retries,
            extra=dict(config.settings),
        )

    def _understood(self, response: ChatResponse, messages: Sequence[Message]) -> ChatResponse:
        from llmspell_agents._prompted import understood

        before = sum(len(message.tool_requests) for message in messages)
        return understood(response, self._schemas, before + 1)

    async def _streamed(
        self, request: ChatRequest, messages: Sequence[Message], context: ExecutionContext
    ) -> ChatResponse:
        tell, holding = self._tell, None
        assert tell is not None
        if self._prompted:
            from llmspell_agents._prompted import Holding

            holding = Holding()
        response: ChatResponse | None = None
        async with closing(self.provider.stream(request, context)) as flow:
            async for chunk in flow:
                if chunk.reasoning:
                    await tell("reasoning", "", chunk.reasoning)
                text = chunk.text if holding is None else holding.add(chunk.text)
                if text:
                    await tell("text", text, None)
                response = chunk.response or response
        if response is None:
            raise ProviderError(
                f"{self.provider.name} ended its answer without completing it",
                provider=self.provider.name,
                kind="protocol",
            )
        if holding is not None:
            response = self._understood(response, messages)
            rest = holding.rest(called=bool(response.tool_requests))
            if rest:
                await tell("text", rest, None)
        return response


def _with_system(messages: Sequence[Message], told: Sequence[str]) -> list[Message]:
    """*messages* with more in their system message."""
    rest = list(messages)
    parts = list(told)
    if rest and rest[0].role == "system":
        parts.insert(0, rest.pop(0).content)
    return [Message("system", "\n\n".join(parts)), *rest]


def _advised(error: ProviderError, schemas: Sequence[Any]) -> ProviderError:
    """*error* with what helps against it, for a model that has no function calling."""
    words = error.message.lower()
    refused = error.kind in ("unsupported", "invalid_request")
    if schemas and refused and "tool" in words and "support" in words:
        advice = 'Describe the tools in the prompt: tool_calling = "prompt".'
        error.hint = f"{error.hint} {advice}" if error.hint else advice
    return error
