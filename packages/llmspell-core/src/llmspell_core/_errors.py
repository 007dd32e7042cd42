"""The error tree.

Every failure is an `LLMSpellError` with a stable `code` for programs, a message that is a letter
to a person, and where it helps a `hint` (what to try) and `details`. Control flow (cancellation,
the end of a script by ``os.exit``) is not a failure and stands outside the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Self


class Severity(Enum):
    """How bad an error is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    FATAL = "fatal"


class Category(Enum):
    """What part of the world an error comes from."""

    CONFIGURATION = "configuration"
    NETWORK = "network"
    RESOURCE = "resource"
    SECURITY = "security"
    LOGIC = "logic"
    EXTERNAL = "external"
    INTERNAL = "internal"


class LLMSpellError(Exception):
    """Base of all failures.

    Args:
        message: What happened, and to what. ``str(error)`` is the class's prefix plus this.
        hint: What to try, as a sentence; shown under the message.
        details: JSON values for programs.
        code: Overrides the class's stable code.
        source: The exception that caused this one; also becomes ``__cause__``.
        retry_after: Seconds to wait before a retry, where known.

    `partial` is what was done before it, where whoever raised it kept that: an agent's
    `AgentOutput` with the calls that were made. It stays in this process.
    """

    code: str = "LLMSPELL_ERROR"
    prefix: ClassVar[str] = ""
    error_type: ClassVar[str] = "Error"
    severity: ClassVar[Severity] = Severity.ERROR
    category: ClassVar[Category] = Category.INTERNAL
    takes_source: ClassVar[bool] = True
    partial: Any = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        code: str | None = None,
        source: BaseException | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        if code is not None:
            self.code = code
        self.source: BaseException | None = None
        self.retry_after = retry_after
        if source is not None:
            self.with_source(source)

    def __str__(self) -> str:
        """The prefix of the class and the message."""
        return self.prefix + self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle everything but the cause, of which only the text survives."""
        state = dict(self.__dict__)
        state.pop("partial", None)
        source = state.pop("source")
        if source is not None:
            state["details"] = {**self.details, "source": f"{type(source).__name__}: {source}"}
        return _revive, (type(self), state)

    def with_source(self, source: BaseException) -> Self:
        """Chain *source* as the cause; a no-op on errors whose cause would tell nothing."""
        if self.takes_source:
            self.source = source
            self.__cause__ = source
        return self

    def is_retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return False

    def retry_delay_ms(self) -> int | None:
        """Milliseconds to wait before a retry, or None when a retry cannot help."""
        if not self.is_retryable():
            return None
        if self.retry_after is not None:
            return round(self.retry_after * 1000)
        return self._default_delay_ms()

    def _default_delay_ms(self) -> int:
        return 1000

    def to_dict(self) -> dict[str, Any]:
        """JSON form: ``type, code, message, hint, details, severity, category, retryable``."""
        return {
            "type": self.error_type,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
            "severity": self.severity.value,
            "category": self.category.value,
            "retryable": self.is_retryable(),
            "retry_after": self.retry_after,
        }


def _revive(cls: type[LLMSpellError], state: dict[str, Any]) -> LLMSpellError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.source = None
    error.__dict__.update(state)
    return error


class ComponentError(LLMSpellError):
    """A component (agent, tool, workflow, session …) cannot do what was asked of it."""

    code = "COMPONENT_ERROR"
    prefix = "Component error: "
    error_type = "Component"
    category = Category.LOGIC


class NotFoundError(ComponentError):
    """A named thing does not exist. The message names the nearest existing one."""

    code = "NOT_FOUND"


class DuplicateError(ComponentError):
    """A name is taken."""

    code = "ALREADY_EXISTS"


class ConfigurationError(LLMSpellError):
    """A setting is missing, unreadable or wrong."""

    code = "CONFIGURATION_ERROR"
    prefix = "Configuration error: "
    error_type = "Configuration"
    category = Category.CONFIGURATION


class PluginError(ConfigurationError):
    """A plugin cannot be used: it is broken, or its name has two owners."""

    code = "PLUGIN_ERROR"


class ProviderError(LLMSpellError):
    """A model provider refused or garbled a call.

    `kind` is one of ``auth, quota, model_not_found, invalid_request, context_length, server,
    protocol, content_filter, unsupported``; ``server`` and ``protocol`` are worth a retry.
    """

    code = "PROVIDER_ERROR"
    prefix = "LLM provider error: "
    error_type = "Provider"
    category = Category.NETWORK

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        kind: str = "server",
        status_code: int | None = None,
        request_id: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.provider = provider
        self.kind = kind
        self.status_code = status_code
        self.request_id = request_id

    def is_retryable(self) -> bool:
        """True for failures on the provider's side."""
        return self.kind in {"server", "protocol"}

    def _default_delay_ms(self) -> int:
        return 2000

    def to_dict(self) -> dict[str, Any]:
        """The common form plus ``provider, kind, status_code, request_id``."""
        return {
            **super().to_dict(),
            "provider": self.provider,
            "kind": self.kind,
            "status_code": self.status_code,
            "request_id": self.request_id,
        }


class ScriptError(LLMSpellError):
    """A script failed. `traceback` is the script language's own, `line` is 1-based."""

    code = "SCRIPT_ERROR"
    prefix = "Script execution error: "
    error_type = "Script"
    category = Category.EXTERNAL

    def __init__(
        self,
        message: str,
        *,
        language: str | None = None,
        line: int | None = None,
        traceback: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.language = language
        self.line = line
        self.traceback = traceback


class ToolError(LLMSpellError):
    """A tool failed while doing its work."""

    code = "TOOL_ERROR"
    prefix = "Tool execution error: "
    error_type = "Tool"
    category = Category.EXTERNAL

    def __init__(self, message: str, *, tool_name: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.tool_name = tool_name


class WorkflowError(LLMSpellError):
    """A workflow or one of its steps failed."""

    code = "WORKFLOW_ERROR"
    prefix = "Workflow execution error: "
    error_type = "Workflow"
    category = Category.LOGIC

    def __init__(self, message: str, *, step: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.step = step


class StorageError(LLMSpellError):
    """Something could not be kept or read back. Retryable for ``read``, ``write``, ``lock``."""

    code = "STORAGE_ERROR"
    prefix = "Storage error: "
    error_type = "Storage"
    category = Category.INTERNAL

    def __init__(self, message: str, *, operation: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.operation = operation

    def is_retryable(self) -> bool:
        """True when another process or a busy disk may have been in the way."""
        return self.operation in {"read", "write", "lock"}

    def _default_delay_ms(self) -> int:
        return 100


class SecurityError(LLMSpellError):
    """A policy said no."""

    code = "SECURITY_VIOLATION"
    prefix = "Security violation: "
    error_type = "Security"
    severity = Severity.CRITICAL
    category = Category.SECURITY
    takes_source = False

    def __init__(
        self,
        message: str,
        *,
        violation_type: str | None = None,
        permission_required: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.violation_type = violation_type
        self.permission_required = permission_required


class ValidationError(LLMSpellError):
    """An argument has the wrong type or value. `field` names it."""

    code = "VALIDATION_ERROR"
    prefix = "Validation error: "
    error_type = "Validation"
    severity = Severity.WARNING
    category = Category.LOGIC
    takes_source = False

    def __init__(self, message: str, *, field: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.field = field


class ResourceError(LLMSpellError):
    """A resource is exhausted for the moment."""

    code = "RESOURCE_ERROR"
    prefix = "Resource error: "
    error_type = "Resource"
    category = Category.RESOURCE

    def is_retryable(self) -> bool:
        """Always: others may give the resource back."""
        return True

    def _default_delay_ms(self) -> int:
        return 500


class ResourceLimitError(LLMSpellError):
    """A fixed limit was passed."""

    code = "RESOURCE_LIMIT"
    prefix = "Resource limit exceeded: "
    error_type = "ResourceLimit"
    category = Category.RESOURCE
    takes_source = False

    def __init__(self, resource: str, *, limit: Any, used: Any, **common: Any) -> None:
        super().__init__(f"{resource} limit of {limit} exceeded (used: {used})", **common)
        self.resource = resource
        self.limit = limit
        self.used = used


class LLMTimeoutError(LLMSpellError, TimeoutError):
    """Something took longer than allowed."""

    code = "TIMEOUT"
    prefix = "Timeout error: "
    error_type = "Timeout"
    severity = Severity.WARNING
    category = Category.RESOURCE
    takes_source = False

    def __init__(
        self,
        message: str,
        *,
        duration_ms: int | None = None,
        operation: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.duration_ms = duration_ms
        self.operation = operation

    def is_retryable(self) -> bool:
        """Always."""
        return True

    def _default_delay_ms(self) -> int:
        return 2 * self.duration_ms if self.duration_ms else 5000


class NetworkError(LLMSpellError):
    """A peer could not be reached."""

    code = "NETWORK_ERROR"
    prefix = "Network error: "
    error_type = "Network"
    category = Category.NETWORK

    def __init__(self, message: str, *, retryable: bool = True, **common: Any) -> None:
        super().__init__(message, **common)
        self.retryable = retryable

    def is_retryable(self) -> bool:
        """As the raiser said; a refused certificate, for one, stays refused."""
        return self.retryable


class RateLimitError(LLMSpellError):
    """A peer asked us to slow down."""

    code = "RATE_LIMITED"
    prefix = "Rate limit error: "
    error_type = "RateLimit"
    category = Category.NETWORK
    takes_source = False

    def __init__(self, message: str, *, provider: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.provider = provider

    def is_retryable(self) -> bool:
        """Always, after `retry_after` seconds."""
        return True


class InternalError(LLMSpellError):
    """A defect of ours."""

    code = "INTERNAL_ERROR"
    prefix = "Internal error: "
    error_type = "Internal"
    severity = Severity.FATAL


class ReplayError(LLMSpellError):
    """A replayed run asked for something that was not recorded, or differs from the recording."""

    code = "REPLAY_MISMATCH"
    prefix = "Replay error: "
    error_type = "Replay"
    category = Category.LOGIC
    takes_source = False


class UnsettledEffectError(ReplayError):
    """Resume met an irreversible effect of which nobody knows whether it happened."""

    code = "EFFECT_UNSETTLED"


class ExecutionCancelled(BaseException):
    """The execution was cancelled. Not an `Exception`: a broad handler must not swallow it.

    `partial` as for `LLMSpellError`.
    """

    partial: Any = None

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(reason)
        self.reason = reason


class ScriptExit(BaseException):
    """A script asked to end the program with `exit_code` (``os.exit``)."""

    def __init__(self, exit_code: int = 0) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def _subclasses(cls: type[LLMSpellError]) -> list[type[LLMSpellError]]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in _subclasses(sub))]


def error_to_record(error: Exception) -> dict[str, Any]:
    """The form in which an exception is kept in the run ledger."""
    if isinstance(error, LLMSpellError):
        state = {
            key: value
            for key, value in error.__dict__.items()
            if key not in {"source", "details", "partial"}
            and isinstance(value, str | int | float | None)
        }
        details = {str(key): _json_or_text(value) for key, value in error.details.items()}
        return {"class": type(error).__name__, "state": state, "details": details}
    # `str` of a KeyError is the repr of its key; the argument is what rebuilds it.
    only = error.args[0] if len(error.args) == 1 else None
    message = only if isinstance(only, str) else str(error)
    return {"class": type(error).__name__, "state": {"message": message}, "details": {}}


def _json_or_text(value: Any) -> Any:
    from llmspell_core._canonical import canonical

    try:
        canonical(value)
    except TypeError:
        return repr(value)
    return value


def error_from_record(record: Mapping[str, Any]) -> Exception:
    """Rebuild what `error_to_record` kept; an unknown class becomes an `InternalError`."""
    state = {**record["state"], "details": dict(record["details"])}
    for cls in _subclasses(LLMSpellError):
        if cls.__name__ == record["class"]:
            return _revive(cls, state)
    builtin = getattr(__import__("builtins"), record["class"], None)
    if isinstance(builtin, type) and issubclass(builtin, Exception):
        try:
            return builtin(state["message"])
        except TypeError:
            pass
    return InternalError(f"{record['class']}: {state['message']}")


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str | None:
    """The known name most like *name*, for "did you mean"; None when none is close."""
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else None
