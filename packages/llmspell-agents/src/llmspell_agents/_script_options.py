"""The table that describes an agent in a script, key by key: for completion and documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from llmspell_core import Registered


class AgentOptions(TypedDict, total=False):
    """What an agent is built from; the builder's methods set the same.

    Attributes:
        name: Its name, unique in the script; without one, ``agent_`` and eight hex digits.
        description: What it is, in one sentence; part of the default system prompt.
        type: The kind: ``llm``, ``basic``, ``tool``, ``tool-orchestrator``, ``composite``,
            ``workflow``, ``monitor``, or one a plugin adds.
        model: ``provider/model``, or a model of the provider.
        provider: The provider; without a model its default model is used.
        fallback: Models to ask instead, in that order, when this one cannot answer.
        system_prompt: The system message.
        temperature: From 0 to 2; the provider's own default otherwise.
        max_tokens: The longest completion.
        top_p: From 0 to 1.
        stop: Texts that end the completion.
        seed: Makes sampling repeatable, where the model can.
        retry: How often a model call is made again after a failure that may pass.
        tools: The names of its tools; ``{"*"}`` is every registered one.
        tool_options: For single tools ``{timeout, retry}``: milliseconds, further attempts.
        tool_choice: ``auto``, ``none``, ``required`` or a tool, until the first call was made.
        tool_calling: ``prompt`` for a model without function calling.
        parallel_tools: Whether the calls of one reply run at once (true).
        output_schema: The form of the answer: a JSON Schema, or ``"json"``.
        capabilities: Free words by which it is discovered.
        memory_enabled: Whether it remembers the conversation between executions (true).
        memory: What becomes of turns there is no room for: ``window`` leaves them out,
            ``summary`` sums them up; or ``{strategy, threshold, keep}``.
        max_conversation_length: How many messages are remembered.
        context_window: A budget of estimated tokens for prompt, history and input.
        base_url: Another address for this agent.
        api_key: Another key for this agent; never shown.
        settings: Fields for the provider's request, sent as they are.
        approval: Who is asked before calls that cannot be taken back: a function, or
            ``destructive``, ``always``, ``never``.
        budget: What one execution may spend: ``{tokens, cost, calls, seconds, soft}``.
        on_error: ``text`` makes a failure an answer that says so.
        max_execution_time: After so many seconds it returns what it has (300).
        max_tool_calls: Tool calls of one execution (100).
        max_recursion_depth: Rounds of tool calls of one execution (10).
        resource_limits: The three limits above in one table.
        members: The agents of a team, for the type ``composite``: names or agents.
        routing: How a team works: a strategy, a function, or a table.
        workflow: What an agent of the type ``workflow`` runs: the workflow or its name.
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
    retry: int
    tools: list[Annotated[str, Registered("llmspell.tools")]]
    tool_options: dict[str, Any]
    tool_choice: Literal["auto", "none", "required"] | str
    tool_calling: Literal["native", "prompt"]
    parallel_tools: bool
    output_schema: dict[str, Any] | Literal["json"]
    capabilities: list[str]
    memory_enabled: bool
    memory: Literal["window", "summary"] | dict[str, Any]
    max_conversation_length: int
    context_window: int
    base_url: str
    api_key: str
    settings: dict[str, Any]
    approval: Any
    budget: dict[str, Any]
    on_error: Literal["raise", "text"]
    max_execution_time: float
    max_tool_calls: int
    max_recursion_depth: int
    resource_limits: dict[str, Any]
    members: list[Any]
    routing: Any
    workflow: Any
    custom_config: dict[str, Any]


class RoutingOptions(TypedDict, total=False):
    """How a team works.

    Attributes:
        strategy: Who works on what.
        threshold: For ``vote``: the part of the members that must agree, above 0 to 1.
        fallback_agent: Who works on the input when the team fails.
        timeout_ms: How long the team may take, in milliseconds.
        on_failure: Whether the team goes on without members that fail.
        select: For ``custom``: a function of the input and the names that names members.
        conditions: For ``conditional``: a function of the input by name of a member.
        capabilities: What every task asks for, where one member is chosen.
        retries: How many further members are tried after failures (3).
        max_concurrent: How many members work at once (10).
    """

    strategy: Literal[
        "sequential",
        "parallel",
        "vote",
        "hierarchical",
        "supervised",
        "conditional",
        "first_match",
        "best_match",
        "round_robin",
        "load_balanced",
        "random",
        "custom",
    ]
    threshold: float
    fallback_agent: Any
    timeout_ms: float
    on_failure: Literal["fail", "continue"]
    select: Any
    conditions: dict[str, Any]
    capabilities: list[str]
    retries: int
    max_concurrent: int


class CompositeOptions(RoutingOptions, total=False):
    """A team.

    Attributes:
        name: Its name.
        agents: Its members: names or agents.
        routing: How it works, in a table of its own.
        description: What it is, in one sentence.
        budget: What one execution may spend in all: ``{tokens, cost, calls, seconds}``.
    """

    name: str
    agents: list[Any]
    routing: Any
    description: str
    budget: dict[str, Any]


class ContextOptions(TypedDict, total=False):
    """A context.

    Attributes:
        id: Its id; one is made up without.
        data: Its values, by name; an agent is told them ahead of its input.
        scope: ``"global"``, or ``{type, id}``: whose shared memory it looks into.
        inheritance: What contexts inside it get of it.
        conversation_id: What conversation it is for.
        user_id: What user it is for.
        session_id: What session it is for.
        security: ``{permissions, level}``, for tools and hooks that look at it.
    """

    id: str
    data: dict[str, Any]
    scope: Any
    inheritance: Literal["inherit", "isolate", "copy", "share"]
    conversation_id: str
    user_id: str
    session_id: str
    security: dict[str, Any]


class DiscoverOptions(TypedDict, total=False):
    """What an agent must have to be found.

    Attributes:
        type: Its kind.
        capabilities: Words it was given, ``supports_tools`` and so on.
        min_context: How many tokens its model must have room for.
    """

    type: Annotated[str, Registered("llmspell.agents")]
    capabilities: list[str]
    min_context: int


class WrapOptions(TypedDict, total=False):
    """An agent as a tool.

    Attributes:
        tool_name: The tool's name (``<agent>_tool``).
        category: What it is listed under (``utility``).
        security_level: What the policy must allow for it to be called (``restricted``).
        description: What it is good for, as models read it; that of the agent.
    """

    tool_name: str
    category: str
    security_level: Literal["safe", "restricted", "privileged"]
    description: str


class AlertOptions(TypedDict, total=False):
    """When an alert is raised.

    Attributes:
        name: Its name; a rule with the same name is replaced.
        condition: ``{type = "metric_threshold", metric_name, operator, threshold,
            duration_seconds}``, ``{type = "health_status", status, duration_seconds}`` or
            ``{type = "error_rate", rate_percent, duration_seconds}``.
        severity: How bad it is (``warning``).
        cooldown_seconds: No further alert of this rule for so long (300).
        enabled: Whether it is looked at (true).
    """

    name: str
    condition: dict[str, Any]
    severity: Literal["info", "warning", "error", "critical"]
    cooldown_seconds: float
    enabled: bool
