"""The way of one call: parameters, policy, hooks, approval, the tool under a time-out, records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    Codec,
    EffectClass,
    InternalError,
    LLMSpellError,
    LLMTimeoutError,
    RateLimitError,
    ResourceError,
    Tool,
    ToolError,
    ToolResult,
    canonical,
    digest,
)
from llmspell_tools._metrics import CircuitBreaker, RateLimit, ToolStats
from llmspell_tools._parameters import Signature
from llmspell_tools._results import as_result, result_codec, with_metadata

if TYPE_CHECKING:
    from llmspell_core import EventBus, ExecutionContext, HookExecutor, HookOutcome, Services

MAX_RETRY_DELAY_SECONDS = 10.0
CACHE_ENTRIES = 256


@dataclass(slots=True)
class Prepared:
    """A tool with all that its calls need, made once."""

    name: str
    tool: Tool
    signature: Signature
    codec: Codec[ToolResult]
    timeout_seconds: float
    stats: ToolStats = field(default_factory=ToolStats)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)

    @classmethod
    def of(cls, name: str, tool: Tool, timeout_seconds: float) -> Prepared:
        """Prepare *tool*."""
        signature = Signature(tool)
        return cls(name, tool, signature, result_codec(signature.sensitive), timeout_seconds)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one call is made: `retry` further attempts for failures that may pass, `cache_seconds`
    to reuse a result of a call without side effects.
    """

    timeout_seconds: float | None = None
    retry: int = 0
    cache_seconds: float | None = None


DEFAULT_OPTIONS = CallOptions()


class Pipeline:
    """Runs calls. One for each set of services; safe for concurrent calls on one loop.

    Args:
        services: Whose policy, hooks and events take part.
        rate_limit: A limit on all calls, or None.
        cache_seconds: How long results without side effects are reused by default, or None.
        require_approval: Whether executions that leave it to the configuration are asked before
            calls that are destructive or irreversible.
    """

    def __init__(
        self,
        services: Services,
        rate_limit: RateLimit | None,
        cache_seconds: float | None,
        *,
        require_approval: bool = False,
    ) -> None:
        self._services = services
        self._require_approval = require_approval
        self._rate_limit = rate_limit
        self._cache_seconds = cache_seconds
        self._cache: dict[str, tuple[float, ToolResult]] = {}

    async def call(
        self,
        prepared: Prepared,
        given: Any,
        context: ExecutionContext,
        options: CallOptions = DEFAULT_OPTIONS,
        *,
        preset: str | None = None,
    ) -> ToolResult:
        """Do everything, in the order of the module's first line.

        Raises:
            LLMSpellError: for a hard failure.
            ExecutionCancelled: when the execution was cancelled.
        """
        context.check()
        hooks: HookExecutor | None = self._services.peek("hooks")
        bus: EventBus | None = self._services.peek("events")
        if bus is not None and not bus.listening:
            bus = None
        if bus is not None:
            _tell_started(bus, prepared, given, context)
        try:
            parameters, warnings, own_timeout = prepared.signature.bind(given, preset=preset)
            self._services.security.tool(prepared.name, prepared.tool.security_level.value)
            replaced = None
            if hooks is not None:
                parameters, replaced = await self._before(hooks, prepared, parameters, context)
            if replaced is not None:
                result = replaced
            else:
                if self._require_approval or context.approval.ask != "configured":
                    from llmspell_tools._approvals import approve

                    await approve(prepared, parameters, context, required=self._require_approval)
                timeout = options.timeout_seconds or own_timeout or prepared.timeout_seconds
                result = await self._perform(prepared, parameters, context, options, timeout)
            if hooks is not None:
                result = await self._after(hooks, prepared, parameters, result, context)
        except LLMSpellError as error:
            self._redact(error)
            prepared.stats.failed()
            result = await self._failed(hooks, prepared, given, error, context, bus)
            return result
        if warnings:
            result = with_metadata(result, {"warnings": warnings})
        duration = result.metadata.get("execution_time_ms")
        prepared.stats.succeeded(duration, success=result.success)
        if bus is not None:
            _tell_completed(bus, prepared, result, context)
        return result

    def _redact(self, error: LLMSpellError) -> None:
        error.message = self._services.secrets.redact(error.message)

    async def _perform(
        self,
        prepared: Prepared,
        parameters: dict[str, Any],
        context: ExecutionContext,
        options: CallOptions,
        timeout: float,
    ) -> ToolResult:
        effect_class = prepared.tool.effect_of(parameters)
        if effect_class is EffectClass.SPAN:
            # Its own effects are the ones that matter; in a replay its body runs again.
            with context.span("tool", prepared.name) as inner:
                started = context.monotonic()
                result = await self._attempts(prepared, parameters, inner, options, timeout)
                took = (context.monotonic() - started) * 1000
            return with_metadata(result, {"execution_time_ms": took})
        reuse = options.cache_seconds or self._cache_seconds
        key = None
        if reuse is not None and effect_class is EffectClass.PURE:
            key = f"{prepared.name}:{digest(canonical(parameters))}"

        async def run(inner: ExecutionContext) -> ToolResult:
            if key is not None:
                kept = self._kept(key)
                if kept is not None:
                    return kept
            started = time.perf_counter()
            result = await self._attempts(prepared, parameters, inner, options, timeout)
            took = (time.perf_counter() - started) * 1000
            result = with_metadata(result, {"execution_time_ms": took})
            if key is not None and reuse is not None and result.success:
                self._keep(key, reuse, result)
            return result

        return await context.effect(
            "tool.call",
            {"tool": prepared.name, "parameters": parameters},
            run,
            effect_class=effect_class,
            codec=prepared.codec,
        )

    def _kept(self, key: str) -> ToolResult | None:
        entry = self._cache.get(key)
        if entry is None:
            return None
        expires, result = entry
        if time.monotonic() >= expires:
            del self._cache[key]
            return None
        return replace(result, metadata={**result.metadata, "cached": True})

    def _keep(self, key: str, seconds: float, result: ToolResult) -> None:
        while len(self._cache) >= CACHE_ENTRIES:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = (time.monotonic() + seconds, result)

    async def _attempts(
        self,
        prepared: Prepared,
        parameters: dict[str, Any],
        context: ExecutionContext,
        options: CallOptions,
        timeout: float,
    ) -> ToolResult:
        left = options.retry
        while True:
            if self._rate_limit is not None:
                self._rate_limit.take()
            prepared.breaker.check(prepared.name)
            try:
                result = await self._once(prepared, parameters, context, timeout)
            except LLMSpellError as error:
                prepared.breaker.failed(error)
                if left <= 0 or not _may_repeat(prepared.tool, parameters, error):
                    raise
                wait = (error.retry_delay_ms() or 1000) / 1000 * 2 ** (options.retry - left)
                left -= 1
            else:
                prepared.breaker.succeeded()
                return result
            import asyncio

            await asyncio.sleep(min(wait, MAX_RETRY_DELAY_SECONDS))
            context.check()

    async def _once(
        self,
        prepared: Prepared,
        parameters: dict[str, Any],
        context: ExecutionContext,
        timeout: float,
    ) -> ToolResult:
        import asyncio

        bound = asyncio.timeout(timeout)
        try:
            async with bound:
                return await prepared.tool.run(parameters, context)
        except LLMSpellError:
            raise
        except TimeoutError as error:
            if not bound.expired():
                raise self._defect(prepared, error) from error
            raise LLMTimeoutError(
                f"Tool '{prepared.name}' timed out after {timeout:g}s",
                duration_ms=round(timeout * 1000),
                operation=prepared.name,
                hint=f"Allow more: timeout in the call, or [tools.timeouts] {prepared.name}.",
            ) from None
        except Exception as error:
            raise self._defect(prepared, error) from error

    def _defect(self, prepared: Prepared, error: Exception) -> LLMSpellError:
        # The edge of a plugin: whatever it raised becomes ours, with its traceback in the log.
        import logging

        logging.getLogger("llmspell.tools").error("tool %s failed", prepared.name, exc_info=error)
        kind = InternalError if isinstance(error, AssertionError) else ToolError
        return kind(f"{prepared.name}: {type(error).__name__}: {error}", source=error)

    async def _before(
        self,
        hooks: HookExecutor,
        prepared: Prepared,
        parameters: dict[str, Any],
        context: ExecutionContext,
    ) -> tuple[dict[str, Any], ToolResult | None]:
        for point in _BEFORE:
            if not hooks.wants(point):
                continue
            outcome = await hooks.run(point, _hook_data(prepared, parameters, point), context)
            if outcome.action == "modified":
                changed = _field_of(outcome.data, "parameters")
                if isinstance(changed, Mapping):
                    parameters, _, _ = prepared.signature.bind(changed)
            else:
                stopped = _stopped(prepared, point, outcome)
                if stopped is not None:
                    return parameters, stopped
        return parameters, None

    async def _after(
        self,
        hooks: HookExecutor,
        prepared: Prepared,
        parameters: dict[str, Any],
        result: ToolResult,
        context: ExecutionContext,
    ) -> ToolResult:
        for point in _AFTER:
            if not hooks.wants(point):
                continue
            data = _hook_data(prepared, parameters, point)
            data["success"] = result.success
            data["result"] = _hook_result(result)
            data["duration_ms"] = result.metadata.get("execution_time_ms")
            if result.error is not None:
                data["error"] = result.error
            outcome = await hooks.run(point, data, context)
            if outcome.action == "modified":
                result = _changed(result, _field_of(outcome.data, "result"))
            elif outcome.action == "replace":
                result = _changed(result, outcome.data)
            elif outcome.action == "cancel":
                raise _cancelled(prepared, point, outcome)
        return result

    async def _failed(
        self,
        hooks: HookExecutor | None,
        prepared: Prepared,
        given: Any,
        error: LLMSpellError,
        context: ExecutionContext,
        bus: EventBus | None,
    ) -> ToolResult:
        if hooks is not None:
            recovered = None
            timed_out = isinstance(error, LLMTimeoutError)
            for point in (*(("custom:tool_timeout",) if timed_out else ()), *_FAILED):
                if hooks.wants(point):
                    data = _hook_data(prepared, given, point)
                    data["success"] = False
                    data["error"] = str(error)
                    outcome = await hooks.run(point, data, context)
                    if outcome.action == "replace":
                        recovered = as_result(outcome.data)
            if recovered is not None:
                return recovered
        if bus is not None:
            bus.publish(
                "tool.failed",
                {**_who(prepared), "error": str(error), "error_type": error.error_type},
                context,
            )
        raise error


def _may_repeat(tool: Tool, parameters: Mapping[str, Any], error: LLMSpellError) -> bool:
    """Whether the call may be made again: what cannot be taken back only where it was refused,
    not where it may have happened.
    """
    if not error.is_retryable():
        return False
    refused = isinstance(error, RateLimitError | ResourceError)
    return refused or tool.effect_of(parameters) is not EffectClass.IRREVERSIBLE


_BEFORE = (
    "ToolValidation",
    "custom:tool_parameter_validation",
    "custom:tool_security_check",
    "custom:tool_resource_allocated",
    "BeforeToolExecution",
)
_AFTER = ("AfterToolExecution", "custom:tool_resource_released")
_FAILED = ("ToolError", "custom:tool_resource_released")


def _hook_result(result: ToolResult) -> dict[str, Any]:
    made = result.envelope()
    if result.text is not None:
        made["text"] = result.text
    if result.error is not None:
        made["error"] = result.error
    return made


def _hook_data(prepared: Prepared, parameters: Any, point: str) -> dict[str, Any]:
    return {
        "tool_name": prepared.name,
        "parameters": parameters,
        "input": parameters,
        "metadata": {
            "tool_name": prepared.name,
            "tool_category": prepared.tool.category,
            "security_level": prepared.tool.security_level.value,
            "execution_phase": point.removeprefix("custom:"),
        },
    }


def _field_of(data: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", data).get(name) if isinstance(data, Mapping) else None


def _stopped(prepared: Prepared, point: str, outcome: HookOutcome) -> ToolResult | None:
    if outcome.action == "cancel":
        raise _cancelled(prepared, point, outcome)
    if outcome.action == "replace":
        return as_result(outcome.data)
    if outcome.action == "skip":
        message = outcome.reason or f"{prepared.name} was skipped by a hook"
        return ToolResult(message=message, text=message, metadata={"skipped": True})
    return None


def _cancelled(prepared: Prepared, point: str, outcome: HookOutcome) -> ToolError:
    return ToolError(
        f"Hook cancelled tool execution: {outcome.reason or 'no reason given'} ({point})",
        tool_name=prepared.name,
        code="HOOK_CANCELLED",
        details={"phase": point, "reason": outcome.reason},
    )


def _changed(result: ToolResult, value: Any) -> ToolResult:
    if value is None:
        return result
    return with_metadata(as_result(value), result.metadata)


def _who(prepared: Prepared) -> dict[str, Any]:
    return {
        "component_name": prepared.name,
        "component_version": str(prepared.tool.metadata.version),
    }


def _tell_started(bus: EventBus, prepared: Prepared, given: Any, context: ExecutionContext) -> None:
    table: Mapping[str, Any] = (
        cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
    )
    text = table.get("input")
    bus.publish(
        "tool.started",
        {
            **_who(prepared),
            "input_text_length": len(text) if isinstance(text, str) else 0,
            "parameter_keys": sorted(map(str, table)),
            "session_id": context.session_id,
            "conversation_id": context.conversation_id,
        },
        context,
    )


def _tell_completed(
    bus: EventBus, prepared: Prepared, result: ToolResult, context: ExecutionContext
) -> None:
    bus.publish(
        "tool.completed",
        {
            **_who(prepared),
            "success": result.success,
            "duration_ms": result.metadata.get("execution_time_ms"),
            "output_text_length": len(result.rendered()),
        },
        context,
    )
