"""`LLMAgent`: an agent that talks to a model and uses tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._asking import Asking, Tell
from llmspell_agents._config import AgentConfig
from llmspell_agents._dialogue import Dialogue
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_agents._memory import schema_tokens
from llmspell_agents._options import changed
from llmspell_agents._scope import inside
from llmspell_agents._toolbox import ALL, Toolbox, allowed_names, check_tools
from llmspell_agents._turn import Turn
from llmspell_core import (
    AgentChunk,
    AgentInput,
    AgentOutput,
    ExecutionCancelled,
    LLMSpellError,
    Message,
    Provider,
    ReplayError,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_OVERRIDES = (
    "model",
    "fallback",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "seed",
    "system_prompt",
    "tools",
    "tool_choice",
    "timeout_seconds",
    "retry",
    "output_schema",
    "schema",
    "response_format",
    "budget",
)


_ABILITIES = ("supports_tools", "supports_context", "supports_multimodal")


class LLMAgent(ManagedAgent):
    """Talks to a model and uses tools.

    Sends the system prompt, the conversation and the schemas of its tools; runs the calls the
    model asks for, those of one reply at once; returns their results in the order of the calls;
    goes on until the model answers or a limit is reached. A tool that fails is told to the
    model. A limit ends the execution with the partial answer; ``finish_reason`` then is
    ``tool_calls``, ``recursion_depth``, ``execution_time``, ``repeated_calls`` or ``budget``.

    `AgentInput.parameters` may override ``model, fallback, temperature, max_tokens, top_p, stop,
    seed, system_prompt, tools, tool_choice, timeout_seconds, retry, output_schema, budget`` for one
    call; `AgentInput.metadata` may hold ``context``, a mapping that is told to the model line by
    line ahead of the text. An error that ends an execution has the `AgentOutput` so far in
    ``error.partial``.

    Args:
        config: What it is.
        services: Where its provider and its tools are found.

    Raises:
        ConfigurationError: ``Model is required``, ``Unsupported provider …``, an unknown tool.
    """

    needs_model = True

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._provider, self._model = self._resolved(config)
        if config.tools or config.tool_choice is not None:
            check_tools(config.tools, services.tools, config.tool_choice)

    def _resolved(self, config: AgentConfig) -> tuple[Provider, str]:
        return self._services.providers.resolve(
            config.model,
            provider=config.provider,
            base_url=config.base_url,
            api_key=config.api_key,
            fallback=config.fallback,
        )

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return self._model

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._provider.name

    def context_tokens(self) -> int | None:
        """The context window of its model."""
        return self._provider.window(self._model)

    def capabilities(self) -> list[str]:
        """Those of every agent, ``supports_tools``, ``supports_context`` (it is told the data of a
        context) and ``supports_multimodal`` (media are passed on to the model).
        """
        return list(dict.fromkeys([*super().capabilities(), *_ABILITIES]))

    def tool_names(self) -> list[str]:
        """The tools it may use, ``*`` written out."""
        return self._allowed(self.config.tools) if self.config.tools else []

    def _allowed(self, names: Sequence[str]) -> list[str]:
        """*names* with ``*`` written out: every tool but those that are this agent itself."""
        allowed = allowed_names(names, self._services.tools)
        if ALL not in names:
            return allowed
        itself: Any = getattr(self._services.peek("agents"), "names_as_tool", None)
        own = () if itself is None else itself(self)
        return [name for name in allowed if name not in own]

    def _for_call(self, input: AgentInput) -> tuple[AgentConfig, Provider, str]:
        """Configuration, provider and model with what this call overrides."""
        given = input.parameters
        options: dict[str, Any] = {k: given[k] for k in _OVERRIDES if given.get(k) is not None}
        if not options:
            return self.config, self._provider, self._model
        config = changed(self.config, options)
        if "tools" in options or "tool_choice" in options:
            check_tools(config.tools, self._services.tools, config.tool_choice)
        if "model" in options:
            # The text decides; the agent's own provider only where the text names none.
            own = None if "/" in options["model"] else self.provider
            return config, *self._resolved(replace(config, provider=own))
        if "fallback" in options:
            named = replace(config, provider=self.provider, model=self._model)
            return config, *self._resolved(named)
        return config, self._provider, self._model

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        config, provider, model = self._for_call(input)
        context = inside(config, context)
        toolbox = None
        if config.tools:
            names = self._allowed(config.tools)
            toolbox = Toolbox(names, self._services.tools, config.tool_options, config.name)
        dialogue = Dialogue(
            config,
            self._history if config.memory_enabled else None,
            window=provider.window(model),
            tools=0 if toolbox is None else schema_tokens(toolbox.schemas),
        )
        if toolbox is not None:
            toolbox.bound(dialogue.limit)
        tell = None if emit is None else _telling(emit)
        asking = Asking(config, provider, model, toolbox, tell)
        turn = Turn(config, asking, toolbox, dialogue, context, tell)
        try:
            return await turn.run(Message("user", _text(input), media=input.media))
        except (LLMSpellError, ExecutionCancelled) as error:
            error.partial = turn.output("error")
            raise
        finally:
            # A question that got no answer at all is forgotten; work that was done is not.
            if config.memory_enabled and len(turn.entries) > 1:
                self._history.add(turn.entries)

    async def handle_error(self, error: LLMSpellError) -> AgentOutput:
        """Raise it; with ``on_error="text"`` say it in an answer."""
        if self.config.on_error != "text" or isinstance(error, ReplayError):
            return await super().handle_error(error)
        done = error.partial if isinstance(error.partial, AgentOutput) else AgentOutput()
        return replace(
            done,
            text=f"I could not finish: {error}",
            finish_reason="error",
            metadata={**done.metadata, "finish_reason": "error", "error": error.to_dict()},
        )


def _text(input: AgentInput) -> str:
    """The text, with what is known about it ahead."""
    about = input.metadata.get("context")
    if not isinstance(about, Mapping) or not about:
        return input.text
    table = cast("Mapping[str, Any]", about)
    lines = [f"{key}: {_line(value)}" for key, value in table.items()]
    return "\n".join([*lines, "", input.text])


def _line(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _telling(emit: Emit) -> Tell:
    """Counts the chunks that go to *emit*."""
    index = 0

    async def tell(kind: str, text: str, data: Any) -> None:
        nonlocal index
        chunk = AgentChunk(kind, index, text, data)
        index += 1
        await emit(chunk)

    return tell
