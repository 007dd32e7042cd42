"""`LLMAgent`: an agent that talks to a model and uses tools."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_agents._config import AgentConfig, changed
from llmspell_agents._history import estimated_tokens
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_agents._toolbox import Toolbox, allowed_names, check_tools
from llmspell_agents._turn import Turn
from llmspell_core import AgentInput, AgentOutput, Message, Provider, ValidationError

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_OVERRIDES = ("model", "temperature", "max_tokens", "top_p", "stop", "system_prompt", "tools")


class LLMAgent(ManagedAgent):
    """Talks to a model and uses tools.

    Sends the system prompt, the conversation and the schemas of its tools; runs the calls the
    model asks for, those of one reply at once; returns their results in the order of the calls;
    goes on until the model answers or a limit is reached. A tool that fails is told to the
    model. A limit ends the execution with the partial answer; ``finish_reason`` then is
    ``tool_calls``, ``recursion_depth``, ``execution_time`` or ``repeated_calls``.

    ``AgentInput.parameters`` may override ``model, temperature, max_tokens, top_p, stop,
    system_prompt, tools, timeout_seconds`` for one call.

    Args:
        config: What it is.
        services: Where its provider and its tools are found.

    Raises:
        ConfigurationError: ``Model is required``, ``Unsupported provider …``, an unknown tool.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._provider, self._model = self._resolved(config)
        if config.tools:
            check_tools(config.tools, services.tools)

    def _resolved(self, config: AgentConfig) -> tuple[Provider, str]:
        return self._services.providers.resolve(
            config.model,
            provider=config.provider,
            base_url=config.base_url,
            api_key=config.api_key,
        )

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return self._model

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._provider.name

    def capabilities(self) -> list[str]:
        """Those of every agent, and ``supports_tools``."""
        return list(dict.fromkeys([*super().capabilities(), "supports_tools"]))

    def tool_names(self) -> list[str]:
        """The tools it may use, ``*`` written out."""
        if not self.config.tools:
            return []
        return allowed_names(self.config.tools, self._services.tools)

    def _for_call(self, input: AgentInput) -> tuple[AgentConfig, Provider, str]:
        """Configuration, provider and model with what this call overrides."""
        given = input.parameters
        options: dict[str, Any] = {k: given[k] for k in _OVERRIDES if given.get(k) is not None}
        if given.get("timeout_seconds") is not None:
            options["timeout_seconds"] = given["timeout_seconds"]
        if not options:
            return self.config, self._provider, self._model
        config = changed(self.config, options)
        if "tools" in options:
            check_tools(config.tools, self._services.tools)
        if "model" in options:
            # The text decides; the agent's own provider only where the text names none.
            own = None if "/" in options["model"] else self.provider
            return config, *self._resolved(replace(config, provider=own))
        return config, self._provider, self._model

    def _before(self, config: AgentConfig, input: AgentInput) -> list[Message]:
        """System prompt and the part of the conversation that fits."""
        prompt = config.prompt()
        system = [Message("system", prompt)] if prompt else []
        budget = config.context_window
        if budget is not None:
            budget -= estimated_tokens([*system, Message("user", input.text)])
            if budget < 0:
                raise ValidationError(
                    f"Input does not fit: about {(config.context_window or 0) - budget} tokens, "
                    f"the context window of agent '{config.name}' is {config.context_window}",
                    field="text",
                )
        return [*system, *self._history.window(budget)] if config.memory_enabled else system

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        config, provider, model = self._for_call(input)
        toolbox = None
        if config.tools:
            tools = self._services.tools
            toolbox = Toolbox(allowed_names(config.tools, tools), tools)
        turn = Turn(config, provider, model, toolbox, self._before(config, input), context, emit)
        try:
            return await turn.run(input.text)
        finally:
            # A question that got no answer at all is forgotten; work that was done is not.
            if config.memory_enabled and len(turn.entries) > 1:
                self._history.add(turn.entries)
