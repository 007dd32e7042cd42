"""The script global ``Tool``, and the handle of one tool."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

from llmspell_core import (
    Items,
    LLMSpellError,
    NotFoundError,
    Record,
    Registered,
    Returns,
    ScriptFunction,
    ScriptHost,
    ToolError,
    ValidationError,
    attribute,
    exposed,
    script_global,
    script_object,
)
from llmspell_tools._results import failure_fields, script_result

if TYPE_CHECKING:
    from llmspell_core import ToolInfo, ToolResult, ToolSchema
    from llmspell_tools._registry import ToolService

CONCURRENT = 100

ToolName = Annotated[str, Registered("llmspell.tools")]


class CallOptions(TypedDict, total=False):
    """How a tool is run.

    Attributes:
        timeout: The longest it may take, in milliseconds.
        timeout_ms: The same.
        timeout_seconds: The same, in seconds.
        retry: Further attempts, for failures that may pass: network, time-out, resources.
        cache: Whether the result is kept and reused, or for how many seconds.
    """

    timeout: float
    timeout_ms: float
    timeout_seconds: float
    retry: int
    cache: bool | float


def _service(host: ScriptHost) -> ToolService:
    from llmspell_tools._registry import ToolService

    service = host.services.tools
    # The face is one half of this service; another registry brings its own global.
    assert isinstance(service, ToolService)
    return service


@script_object("Tool")
class ToolHandle:
    """One tool in a script's hands.

    Hard failures of its calls raise: validation, security, files, network, time.
    """

    def __init__(self, host: ScriptHost, asked: str, info: ToolInfo) -> None:
        self._host = host
        self._asked = asked
        self._info = info

    @attribute
    def name(self) -> str:
        """The canonical name."""
        return self._info.name

    @attribute
    def description(self) -> str:
        """What it does, in one sentence."""
        return self._info.description

    @attribute
    def version(self) -> str:
        """Its version."""
        return self._info.version

    @attribute
    def category(self) -> str:
        """Its primary category."""
        return self._info.category

    @attribute
    def security_level(self) -> str:
        """How dangerous it is: ``safe``, ``restricted`` or ``privileged``."""
        return self._info.security_level

    @attribute
    def schema(self) -> dict[str, Any]:
        """What it takes, as `get_schema`."""
        return self.get_schema()

    @exposed()
    def get_schema(self) -> dict[str, Any]:
        """What it takes: ``{name, description, parameters, returns?}``."""
        from llmspell_tools._discovery import schema_record

        return schema_record(_schema(self._host, self._asked))

    @exposed(names=("invoke",), async_twin=True)
    async def execute(
        self, parameters: dict[str, Any] | None = None, options: CallOptions | None = None
    ) -> Record | Items:
        """Run the tool.

        Args:
            parameters: What it takes, by name.
            options: How it is run.

        Returns:
            The result; ``success`` is false for soft failures, which each tool names

        Raises:
            ToolError: ``Tool '<name>' execution failed: …`` for a hard failure.
        """
        try:
            result = await _invoke(self._host, self._asked, parameters, options)
        except LLMSpellError as error:
            raise _execution_failed(self._info.name, error) from error
        return script_result(result)

    @exposed()
    def validate(self, parameters: dict[str, Any] | None = None) -> Returns:
        """Check parameters without running the tool.

        Args:
            parameters: What would be given to `execute`.

        Returns:
            True, or false and what is wrong
        """
        try:
            _service(self._host).check(self._asked, parameters or {})
        except ValidationError as error:
            return Returns((False, str(error)))
        return Returns((True, None))


def _schema(host: ScriptHost, name: str) -> ToolSchema:
    return _service(host).get(name).schema


def _execution_failed(name: str, error: LLMSpellError) -> ToolError:
    return ToolError(
        f"Tool '{name}' execution failed: {error}",
        tool_name=name,
        code=error.code,
        hint=error.hint,
        details=error.details,
        source=error,
        retry_after=error.retry_after,
    )


async def _invoke(
    host: ScriptHost,
    name: str,
    parameters: Mapping[str, Any] | None,
    options: Mapping[str, Any] | None,
) -> ToolResult:
    service = _service(host)
    chosen = options or {}
    seconds = _number(chosen, "timeout_seconds", None)
    milliseconds = _number(chosen, "timeout_ms", _number(chosen, "timeout", None))
    if milliseconds is not None:
        seconds = milliseconds / 1000
    cache = chosen.get("cache")
    if cache is True:
        cache = service.settings.cache_ttl_seconds
    elif cache is False or cache is None:
        cache = None
    else:
        cache = _number(chosen, "cache", None)
    return await service.invoke(
        name,
        {} if parameters is None else parameters,
        host.context,
        timeout_seconds=seconds,
        retry=int(_number(chosen, "retry", 0) or 0),
        cache_seconds=cache,
    )


def _number(options: Mapping[str, Any], name: str, default: float | None) -> float | None:
    value = options.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f"option '{name}' must be a number", field=name)
    return value


@script_global("Tool")
class ToolGlobal:
    """Find, run and register tools; ``Tool.calculator`` is the tool of that name.

    Unknown tools and wrong arguments raise. Whatever else goes wrong is a result with
    ``success = false``, and its message comes as second value.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._handles: dict[str, ToolHandle] = {}

    @property
    def _tools(self) -> ToolService:
        return _service(self._host)

    # Finding -------------------------------------------------------------------------------

    @exposed()
    def get(self, name: ToolName) -> ToolHandle | None:
        """The tool of that name, or nil.

        Args:
            name: Its name or an alias; case does not matter, ``-`` is ``_``.
        """
        service = self._tools
        if not service.has(name):
            self._handles.pop(name, None)
            return None
        handle = self._handles.get(name)
        if handle is None:
            info = service.info(name)
            found = service.resolve(name)
            asked = name if found is not None and found[1] is not None else info.name
            handle = self._handles.get(asked) or ToolHandle(self._host, asked, info)
            self._handles[name] = self._handles[asked] = handle
        return handle

    @exposed()
    def create(self, name: ToolName) -> ToolHandle:
        """The tool of that name.

        Args:
            name: Its name or an alias.

        Raises:
            NotFoundError: For an unknown tool.
        """
        handle = self.get(name)
        if handle is None:
            self._tools.get(name)
            raise NotFoundError(f"Tool '{name}' not found")
        return handle

    def __script_index__(self, key: ToolName) -> ToolHandle | None:
        """The tool of that name, or nil."""
        return self.get(key)

    @exposed()
    def exists(self, name: ToolName) -> bool:
        """Whether a tool of that name is registered, disabled ones included.

        Args:
            name: Its name or an alias.
        """
        return self._tools.resolve(name) is not None

    @exposed()
    def is_available(self, name: ToolName) -> bool:
        """Whether a tool is registered and not disabled.

        Args:
            name: Its name or an alias.
        """
        return self._tools.has(name)

    @exposed()
    def categories(self) -> builtins.list[str]:
        """The categories that occur, sorted."""
        service = self._tools
        names = (info.name for info in service.list())
        return sorted({category for name in names for category in service.categories_of(name)})

    @exposed()
    def discover(self, criteria: dict[str, Any] | None = None) -> builtins.list[Record]:
        """The tools for which all criteria hold; without criteria, all.

        Args:
            criteria: ``category``; ``tag``, ``query`` and each of ``capabilities`` are looked for
                in name, description, category and aliases; ``security_level`` at most,
                ``min_security_level`` at least.
        """
        from llmspell_tools._discovery import Matcher, entry

        service = self._tools
        matcher = Matcher(criteria or {})
        return [entry(info) for info in service.list() if matcher.matches(info, service)]

    @exposed(names=("info",))
    def get_info(self, name: ToolName) -> Record | None:
        """All about one tool, or nil.

        Args:
            name: Its name or an alias.

        Returns:
            An entry as in `list`, with ``schema``, ``parameters`` and ``operations``
        """
        from llmspell_tools._discovery import about

        service = self._tools
        if not service.has(name):
            return None
        tool = service.get(name)
        return about(service.info(name), tool)

    @exposed()
    def get_schema(self, name: ToolName) -> dict[str, Any] | None:
        """What one tool takes, or nil.

        Args:
            name: Its name or an alias.

        Returns:
            ``{name, description, parameters, returns?}``; parameters answer by position and by name
        """
        from llmspell_tools._discovery import schema_record

        return schema_record(_schema(self._host, name)) if self._tools.has(name) else None

    @exposed()
    def get_metrics(self, name: ToolName) -> dict[str, Any]:
        """How often a tool was run, in milliseconds on average.

        Args:
            name: Its name or an alias.

        Returns:
            ``{invocations, failures, average_duration}``
        """
        service = self._tools
        service.get(name)
        return self._host.context.observe("tool.metrics", name, lambda: service.metrics(name))

    # Running -------------------------------------------------------------------------------

    @exposed(names=("execute",))
    async def invoke(
        self,
        name: ToolName,
        parameters: dict[str, Any] | None = None,
        options: CallOptions | None = None,
    ) -> Returns:
        """Run a tool.

        Args:
            name: Its name or an alias.
            parameters: What it takes, by name.
            options: How it is run.

        Returns:
            The result, and the message of a failure or nil

        Raises:
            NotFoundError: ``Tool '<name>' not found``.
        """
        if not self._tools.has(name):
            self._tools.get(name)
        return Returns(await self._returned(name, parameters, options))

    @exposed(names=("execute_async",), promise=True, fails="table", misuse="table")
    async def invoke_async(
        self,
        name: ToolName,
        parameters: dict[str, Any] | None = None,
        options: CallOptions | None = None,
    ) -> Returns:
        """Run a tool without waiting for it; never raises.

        Args:
            name: Its name or an alias.
            parameters: What it takes, by name.
            options: How it is run.

        Returns:
            A promise of the result, which is a failure for wrong arguments and for an unknown
            tool (``Tool not found: <name>``) as well
        """
        if not self._tools.has(name):
            return Returns(_unknown(name))
        return Returns(await self._returned(name, parameters, options))

    async def _returned(
        self, name: str, parameters: Any, options: Mapping[str, Any] | None
    ) -> tuple[Record | Items, str | None]:
        try:
            result = await _invoke(self._host, name, parameters, options)
        except LLMSpellError as error:
            message = f"Tool execution failed: {error}"
            return Record(failure_fields(error, message), text=message), message
        return script_result(result), result.error

    @exposed(names=("batch_invoke", "parallel"))
    async def batch(
        self, operations: builtins.list[Any], options: dict[str, Any] | None = None
    ) -> builtins.list[Any]:
        """Run several tools at once; results in order, failures among them.

        Args:
            operations: Tables ``{tool = "name", params = {…}, options = {…}}``.
            options: ``parallel = false`` runs one after the other; with ``stop_on_error = true``
                nothing is begun after a failure.
        """
        import asyncio

        for operation in operations:
            _operation_of(operation)
        rules = options or {}
        stop_on_error = rules.get("stop_on_error") is True
        width = 1 if rules.get("parallel") is False else CONCURRENT
        turn = asyncio.Semaphore(width)
        failed = False

        async def one(operation: Any) -> Record | Items:
            nonlocal failed
            async with turn:
                if failed and stop_on_error:
                    return _not_run()
                result, error = await self._operation(operation)
                failed = failed or error is not None
                return result

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(operation)) for operation in operations]
        return [task.result() for task in tasks]

    async def _operation(
        self, operation: Any, extra: Mapping[str, Any] | None = None
    ) -> tuple[Record | Items, str | None]:
        name, parameters, options = _operation_of(operation)
        if extra is not None and isinstance(parameters, Mapping):
            parameters = {**extra, **cast("Mapping[str, Any]", parameters)}
        if not self._tools.has(name):
            return _unknown(name)
        return await self._returned(name, parameters, options)

    @exposed()
    async def pipeline(self, operations: builtins.list[Any]) -> Returns:
        """Run tools one after the other, up to the first failure.

        The primary value of each becomes ``input`` of the next, when that has none.

        Args:
            operations: As for `batch`.

        Returns:
            The last result, with ``steps``, and the message of a failure or nil
        """
        if not operations:
            raise ValidationError("a pipeline needs at least one operation", field="operations")
        for operation in operations:
            _operation_of(operation)
        steps: builtins.list[Any] = []
        extra: dict[str, Any] | None = None
        result: Record | Items = Record({})
        error: str | None = None
        for operation in operations:
            result, error = await self._operation(operation, extra)
            steps.append(result)
            if error is not None:
                break
            primary = result.fields.get("output")
            extra = None if primary is None else {"input": primary}
        return Returns((_with_steps(result, steps), error))

    # Registering ---------------------------------------------------------------------------

    @exposed()
    def register(
        self, definition: Any, handler: Any = None, schema: dict[str, Any] | None = None
    ) -> bool:
        """Add a tool that the script brings; it lives as long as the script's state.

        ``register(name, function, schema?)``, ``register(name, {handler = …, …})`` or
        ``register{name = …, execute = …, parameters = …}``.

        Args:
            definition: The name, or the table that describes the tool.
            handler: The function, which gets the parameters and returns the result; or the table.
            schema: What the tool takes.

        Raises:
            ValidationError: For a definition without a name or function.
            DuplicateError: For a name that is taken.
        """
        from llmspell_tools._function_tool import ScriptTool

        table = _definition(definition, handler, schema)
        function = table.pop("execute", None) or table.pop("handler", None)
        if not isinstance(function, ScriptFunction):
            raise ValidationError(
                "A tool needs a function: 'execute' or 'handler'",
                field="handler",
                hint='Tool.register("name", function(params) … end)',
            )
        self._tools.register(ScriptTool(function, table))
        return True

    @exposed()
    def unregister(self, name: str) -> bool:
        """Remove a tool of the script; whether there was one.

        Args:
            name: Its name.

        Raises:
            ComponentError: For an installed tool.
        """
        self._handles.clear()
        return self._tools.unregister(name)

    @exposed()
    def list(self) -> builtins.list[Record]:
        """All tools, each once, sorted by name; each prints as its name.

        Returns:
            ``{name, description, version, category, security_level, aliases}`` of each
        """
        from llmspell_tools._discovery import entry

        return [entry(info) for info in self._tools.list()]


def _definition(definition: Any, handler: Any, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(definition, Mapping):
        return dict(cast("Mapping[str, Any]", definition))
    if not isinstance(definition, str):
        raise ValidationError("A tool needs a name", field="name")
    if isinstance(handler, Mapping):
        return {**cast("Mapping[str, Any]", handler), "name": definition}
    return {**(schema or {}), "name": definition, "handler": handler}


def _operation_of(operation: Any) -> tuple[str, Any, Mapping[str, Any] | None]:
    if not isinstance(operation, Mapping):
        raise ValidationError("an operation must be a table {tool = …, params = …}", field="tool")
    table = cast("Mapping[str, Any]", operation)
    name = table.get("tool", table.get("name"))
    if isinstance(name, ToolHandle):
        name = name.name
    if not isinstance(name, str):
        raise ValidationError("an operation needs the name of its tool", field="tool")
    parameters: Any = {}
    for key in ("params", "parameters", "input"):
        if key in table:
            parameters = table[key]
            break
    return name, parameters, table.get("options")


def _unknown(name: str) -> tuple[Record, str]:
    error = NotFoundError(f"Tool not found: {name}")
    return Record(failure_fields(error, error.message), text=error.message), error.message


def _not_run() -> Record:
    error = ToolError("not run: an earlier operation failed", code="NOT_RUN")
    return Record(failure_fields(error, error.message), text=error.message)


def _with_steps(result: Record | Items, steps: builtins.list[Any]) -> Record | Items:
    fields = {**result.fields, "steps": steps}
    if isinstance(result, Items):
        return Items(result.items, fields, text=result.text)
    return Record(fields, text=result.text)
