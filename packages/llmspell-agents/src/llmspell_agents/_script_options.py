"""The table that describes an agent in a script, key by key: for completion and documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from llmspell_core import Registered


class AgentOptions(TypedDict, total=False):
    """What an agent is built from; the builder's methods set the same.

    Attributes:
        name: Its name, unique in the script; without one, ``agent_`` and eight hex digits.
        description: What it is, in one sentence; part of the default system prompt.
        type: The kind: ``llm``, ``basic``, or one a plugin adds.
        model: ``provider/model``, or a model of the provider.
        provider: The provider; without a model its default model is used.
        fallback: Models to ask instead, in that order, when this one cannot answer.
        system_prompt: The system message.
        temperature: From 0 to 2; the provider's own default otherwise.
        max_tokens: The longest completion.
        top_p: From 0 to 1.
        stop: Texts that end the completion.
        seed: Makes sampling repeatable, where the model can.
        tools: The names of its tools; ``{"*"}`` is every registered one.
        tool_choice: ``auto``, ``none``, ``required`` or a tool, until the first call was made.
        tool_calling: ``prompt`` for a model without function calling.
        parallel_tools: Whether the calls of one reply run at once (true).
        output_schema: The form of the answer: a JSON Schema, or ``"json"``.
        capabilities: Free words by which it is discovered.
        memory_enabled: Whether it remembers the conversation between executions (true).
        max_conversation_length: How many messages are remembered.
        context_window: A budget of estimated tokens for prompt, history and input.
        base_url: Another address for this agent.
        api_key: Another key for this agent; never shown.
        settings: Fields for the provider's request, sent as they are.
        on_error: ``text`` makes a failure an answer that says so.
        max_execution_time: After so many seconds it returns what it has (300).
        max_tool_calls: Tool calls of one execution (100).
        max_recursion_depth: Rounds of tool calls of one execution (10).
        resource_limits: The three limits above in one table.
        custom_config: Values of your own.
    """

    name: str
    description: str
    type: Annotated[str, Registered("llmspell.agents")]
    model: str
    provider: Annotated[str, Registered("llmspell.providers")]
    fallback: list[str]
    system_prompt: str
    temperature: float
    max_tokens: int
    top_p: float
    stop: list[str]
    seed: int
    tools: list[Annotated[str, Registered("llmspell.tools")]]
    tool_choice: Literal["auto", "none", "required"] | str
    tool_calling: Literal["native", "prompt"]
    parallel_tools: bool
    output_schema: dict[str, Any] | Literal["json"]
    capabilities: list[str]
    memory_enabled: bool
    max_conversation_length: int
    context_window: int
    base_url: str
    api_key: str
    settings: dict[str, Any]
    on_error: Literal["raise", "text"]
    max_execution_time: float
    max_tool_calls: int
    max_recursion_depth: int
    resource_limits: dict[str, Any]
    custom_config: dict[str, Any]
