"""Templates: agents that are described already, but for a few parameters."""

# ruff: noqa: RUF009 - setting() returns a dataclass field, not a shared default

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ConfigurationError, NotFoundError, ValidationError, nearest, setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_core import Config

TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "array": ((list, tuple), "a list"),
    "object": ((Mapping,), "a table"),
    "any": ((object,), "a value"),
}


@dataclass(frozen=True, slots=True)
class AgentsConfig:
    """``[agents]``: templates of your own, each a table of agent options under its name.

    ``base`` names the template it adds to; ``parameters`` are its own parameters, ``{type,
    default, required, minimum, maximum, enum, description}`` each, which stand in its texts
    as ``{NAME}``.
    """

    templates: dict[str, Any] = setting(
        factory=dict, help="templates of agents: [agents.templates.NAME] with agent options"
    )


@dataclass(frozen=True, slots=True)
class TemplateParameter:
    """A parameter of a template; `type` is one of `TYPES`."""

    name: str
    type: str = "any"
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] = ()
    description: str = ""

    def checked(self, value: Any) -> Any:
        """*value*, if it fits.

        Raises:
            ValidationError: naming the parameter.
        """
        kinds, wanted = TYPES[self.type]
        if self.type == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        if self.type == "array" and value == {}:
            value = []
        if not isinstance(value, kinds) or (
            isinstance(value, bool) and self.type in ("integer", "number")
        ):
            raise self._refused(f"must be {wanted}, not {type(value).__name__}")
        if self.enum and value not in self.enum:
            raise self._refused(f"must be one of {', '.join(map(str, self.enum))}, not {value!r}")
        size = value if self.type in ("integer", "number") else None
        if size is not None and self.minimum is not None and size < self.minimum:
            raise self._refused(f"must be at least {self.minimum:g}, not {size:g}")
        if size is not None and self.maximum is not None and size > self.maximum:
            raise self._refused(f"must be at most {self.maximum:g}, not {size:g}")
        return value

    def _refused(self, words: str) -> ValidationError:
        return ValidationError(f"template parameter '{self.name}' {words}", field=self.name)

    def to_dict(self) -> dict[str, Any]:
        """What scripts see of it."""
        made: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "description": self.description,
        }
        for key in ("default", "minimum", "maximum"):
            if getattr(self, key) is not None:
                made[key] = getattr(self, key)
        if self.enum:
            made["enum"] = list(self.enum)
        return made


def _just(options: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda values: dict(options)


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its parameters, and the options of an agent that it makes of their values."""

    name: str
    description: str
    options: Callable[[Mapping[str, Any]], dict[str, Any]]
    parameters: tuple[TemplateParameter, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """What scripts see of it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": [parameter.to_dict() for parameter in self.parameters],
        }

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options for an agent: those of the template, then whatever of *given* is not one
        of its parameters.

        Raises:
            ValidationError: ``Missing required parameter: <name>``, or a value that does not fit.
        """
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            value = given.get(parameter.name, parameter.default)
            if value is None:
                if parameter.required:
                    raise ValidationError(
                        f"Missing required parameter: {parameter.name}",
                        field=parameter.name,
                        hint=parameter.description or None,
                    )
                continue
            values[parameter.name] = parameter.checked(value)
        own = {parameter.name for parameter in self.parameters}
        rest = {key: value for key, value in given.items() if key not in own}
        return {**self.options(values), **rest}


_NAME = TemplateParameter("agent_name", "string", required=True, description="The agent's name.")
_AGENTS = TemplateParameter("agents", "array", required=True, description="Agents or their names.")


def _tool_agent(values: Mapping[str, Any]) -> dict[str, Any]:
    tools = values["specialized_tools"] or ["*"]
    if len(tools) > values["max_tools"]:
        raise ValidationError(
            f"template parameter 'specialized_tools' names {len(tools)} tools, max_tools is "
            f"{values['max_tools']}",
            field="specialized_tools",
        )
    return {
        "type": "tool",
        "name": values["agent_name"],
        "description": "Runs tools without a model",
        "tools": tools,
        "tool_options": {
            tool: {"timeout_seconds": values["tool_timeout"]} for tool in tools if tool != "*"
        },
        "max_execution_time": 600,
    }


def _orchestrator_agent(values: Mapping[str, Any]) -> dict[str, Any]:
    agents = values["agents"]
    if len(agents) > values["max_managed_agents"]:
        raise ValidationError(
            f"template parameter 'agents' names {len(agents)} agents, max_managed_agents is "
            f"{values['max_managed_agents']}",
            field="agents",
        )
    routing: dict[str, Any] = {
        "strategy": values["orchestration_strategy"],
        "retries": values["max_retries"],
        "max_concurrent": values["max_concurrent_workflows"],
        "timeout_seconds": values["max_workflow_time"],
    }
    if "conditions" in values:
        routing["conditions"] = values["conditions"]
    return {
        "type": "composite",
        "name": values["agent_name"],
        "description": "Orchestrates other agents",
        "members": agents,
        "routing": routing,
        "max_execution_time": values["max_workflow_time"],
    }


def _orchestrator(
    name: str, description: str, agents: int, concurrent: int, retries: int, seconds: int
) -> Template:
    return Template(
        name,
        description,
        _orchestrator_agent,
        (
            _NAME,
            _AGENTS,
            TemplateParameter("max_managed_agents", "integer", agents, minimum=1, maximum=100),
            TemplateParameter(
                "orchestration_strategy",
                "string",
                "sequential",
                enum=("sequential", "parallel", "conditional", "pipeline"),
            ),
            TemplateParameter("conditions", "object", description="For conditional: by name."),
            TemplateParameter("max_workflow_time", "number", seconds, minimum=60, maximum=86400),
            TemplateParameter(
                "max_concurrent_workflows", "integer", concurrent, minimum=1, maximum=20
            ),
            TemplateParameter("max_retries", "integer", retries, minimum=0, maximum=10),
        ),
    )


def _monitor_agent(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "monitor",
        "name": values["agent_name"],
        "description": "Watches over agents and raises alerts",
        "custom_config": {key: values[key] for key in values if key != "agent_name"},
    }


BUILT_IN: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template(
            "basic",
            "Echoing test agent without a model",
            _just({"type": "basic", "description": "Echoing test agent without a model"}),
        ),
        Template(
            "llm",
            "Talks to a model and uses tools",
            _just({"type": "llm", "model": "gpt-4", "temperature": 0.7, "max_tokens": 2000}),
        ),
        Template(
            "tool-orchestrator",
            "Talks to a model and uses every tool",
            _just({"type": "tool-orchestrator", "temperature": 0.3}),
        ),
        Template(
            "tool_agent",
            "Runs tools without a model",
            _tool_agent,
            (
                _NAME,
                TemplateParameter("specialized_tools", "array", [], description="None is all."),
                TemplateParameter("max_tools", "integer", 50, minimum=1),
                TemplateParameter("tool_timeout", "number", 300, minimum=0.001, maximum=86400),
            ),
        ),
        _orchestrator("orchestrator_agent", "Orchestrates other agents", 20, 3, 3, 3600),
        _orchestrator("orchestrator_agent_simple", "Orchestrates a few agents", 5, 1, 1, 1800),
        _orchestrator(
            "orchestrator_agent_enterprise", "Orchestrates many agents", 100, 20, 5, 86400
        ),
        Template(
            "monitor_agent",
            "Watches over agents and raises alerts",
            _monitor_agent,
            (
                _NAME,
                TemplateParameter("agents", "array", [], description="Names; none is all."),
                TemplateParameter(
                    "cpu_percent", "number", 80, minimum=0, description="Of all processors."
                ),
                TemplateParameter("memory_mb", "number", 1_000, minimum=1),
                TemplateParameter("response_time_ms", "number", 5_000, minimum=0),
                TemplateParameter("error_rate_percent", "number", 5, minimum=0, maximum=100),
                TemplateParameter("cooldown_seconds", "number", 300, minimum=0),
            ),
        ),
    )
}


def _configured(config: Config) -> Mapping[str, Any]:
    return config.section("agents", AgentsConfig).templates


def template_names(config: Config) -> list[str]:
    """All names, sorted."""
    return sorted({*BUILT_IN, *_configured(config)})


def find_template(name: str, config: Config) -> Template:
    """The template; ``-`` and ``_`` are alike, as are upper and lower case.

    Raises:
        NotFoundError: ``Template '<name>' not found``.
        ConfigurationError: for a configured one that is none.
    """
    return _found(name, config, ())


def _found(name: str, config: Config, seen: tuple[str, ...]) -> Template:
    key = _key(name)
    for own, table in _configured(config).items():
        if _key(own) == key and own not in seen:
            return _from_table(own, table, config, (*seen, own))
    for own, template in BUILT_IN.items():
        if _key(own) == key:
            return template
    known = template_names(config)
    close = nearest(name, known)
    raise NotFoundError(
        f"Template '{name}' not found",
        hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
    )


def options_of(name: str, given: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The options of an agent that a template makes of *given*. Raises as `find_template` and
    `Template.filled`.
    """
    template = find_template(name, config)
    own = {parameter.name for parameter in template.parameters}
    if "agent_name" in own and "agent_name" not in given and given.get("name"):
        given = {**given, "agent_name": given["name"]}
    return template.filled(given)


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


def _from_table(name: str, table: Any, config: Config, seen: tuple[str, ...]) -> Template:
    if not isinstance(table, Mapping):
        raise ConfigurationError(
            f"template '{name}' must be a table of agent options",
            hint=f"Write it as [agents.templates.{name}] with keys below it.",
        )
    options = dict(cast("Mapping[str, Any]", table))
    base_name = options.pop("base", None)
    base = None if base_name is None else _found(str(base_name), config, seen)
    own = _parameters(name, options.pop("parameters", None) or {})
    above = () if base is None else base.parameters
    redefined = {parameter.name for parameter in own}
    # What a template sets is no longer asked for.
    inherited = tuple(p for p in above if p.name not in redefined and p.name not in options)
    fixed = {p.name: options.pop(p.name) for p in above if p.name in options}
    names = tuple(parameter.name for parameter in own)

    def made(values: Mapping[str, Any]) -> dict[str, Any]:
        mine = _replaced(options, {key: values[key] for key in names if key in values})
        if base is None:
            return cast("dict[str, Any]", mine)
        theirs = {key: value for key, value in values.items() if key not in names}
        return {**base.filled({**theirs, **fixed}), **cast("dict[str, Any]", mine)}

    return Template(name, str(options.get("description", name)), made, (*inherited, *own))


def _parameters(name: str, table: Any) -> tuple[TemplateParameter, ...]:
    made: list[TemplateParameter] = []
    for key, about in cast("Mapping[str, Any]", table).items():
        fields: dict[str, Any] = {"default": about}
        if isinstance(about, Mapping):
            fields = dict(cast("Mapping[str, Any]", about))
        if "enum" in fields:
            fields["enum"] = tuple(fields["enum"])
        try:
            parameter = TemplateParameter(key, **fields)
        except TypeError:
            raise ConfigurationError(
                f"parameter '{key}' of template '{name}' has unknown fields: "
                f"{', '.join(sorted(fields))}",
                hint="Known: type, default, required, minimum, maximum, enum, description.",
            ) from None
        if parameter.type not in TYPES:
            raise ConfigurationError(
                f"parameter '{key}' of template '{name}' has the unknown type '{parameter.type}'",
                hint=f"Known: {', '.join(TYPES)}",
            )
        made.append(parameter)
    return tuple(made)


def _replaced(value: Any, values: Mapping[str, Any]) -> Any:
    """*value* with ``{NAME}`` in its texts replaced by the parameter of that name."""
    if isinstance(value, str):
        for name, given in values.items():
            if value == f"{{{name}}}":
                return given
            value = value.replace(f"{{{name}}}", str(given))
        return value
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {key: _replaced(item, values) for key, item in table.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_replaced(item, values) for item in cast("Sequence[Any]", value)]
    return value
