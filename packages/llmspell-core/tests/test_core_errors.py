"""The error tree: codes, prefixes, retry rules, pickling, the ledger's form."""

import copy
import pickle

import pytest

import llmspell_core
from llmspell_core import (
    AgentOutput,
    Category,
    ComponentError,
    ConfigurationError,
    DuplicateError,
    ExecutionCancelled,
    InternalError,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    NotFoundError,
    PluginError,
    ProviderError,
    RateLimitError,
    ReplayError,
    ResourceError,
    ResourceLimitError,
    ScriptError,
    ScriptExit,
    SecurityError,
    Severity,
    StorageError,
    ToolError,
    UnsettledEffectError,
    ValidationError,
    WorkflowError,
    nearest,
)
from llmspell_core._errors import error_from_record, error_to_record

# class, error_type, code, prefix, category, severity, retryable, delay in ms
TABLE = [
    (ComponentError, "Component", "COMPONENT_ERROR", "Component error: ", "logic", "error", None),
    (NotFoundError, "Component", "NOT_FOUND", "Component error: ", "logic", "error", None),
    (DuplicateError, "Component", "ALREADY_EXISTS", "Component error: ", "logic", "error", None),
    (
        ConfigurationError,
        "Configuration",
        "CONFIGURATION_ERROR",
        "Configuration error: ",
        "configuration",
        "error",
        None,
    ),
    (
        PluginError,
        "Configuration",
        "PLUGIN_ERROR",
        "Configuration error: ",
        "configuration",
        "error",
        None,
    ),
    (
        ProviderError,
        "Provider",
        "PROVIDER_ERROR",
        "LLM provider error: ",
        "network",
        "error",
        2000,
    ),
    (
        ScriptError,
        "Script",
        "SCRIPT_ERROR",
        "Script execution error: ",
        "external",
        "error",
        None,
    ),
    (ToolError, "Tool", "TOOL_ERROR", "Tool execution error: ", "external", "error", None),
    (
        WorkflowError,
        "Workflow",
        "WORKFLOW_ERROR",
        "Workflow execution error: ",
        "logic",
        "error",
        None,
    ),
    (StorageError, "Storage", "STORAGE_ERROR", "Storage error: ", "internal", "error", None),
    (
        SecurityError,
        "Security",
        "SECURITY_VIOLATION",
        "Security violation: ",
        "security",
        "critical",
        None,
    ),
    (
        ValidationError,
        "Validation",
        "VALIDATION_ERROR",
        "Validation error: ",
        "logic",
        "warning",
        None,
    ),
    (ResourceError, "Resource", "RESOURCE_ERROR", "Resource error: ", "resource", "error", 500),
    (LLMTimeoutError, "Timeout", "TIMEOUT", "Timeout error: ", "resource", "warning", 5000),
    (NetworkError, "Network", "NETWORK_ERROR", "Network error: ", "network", "error", 1000),
    (
        RateLimitError,
        "RateLimit",
        "RATE_LIMITED",
        "Rate limit error: ",
        "network",
        "error",
        1000,
    ),
    (InternalError, "Internal", "INTERNAL_ERROR", "Internal error: ", "internal", "fatal", None),
    (ReplayError, "Replay", "REPLAY_MISMATCH", "Replay error: ", "logic", "error", None),
    (
        UnsettledEffectError,
        "Replay",
        "EFFECT_UNSETTLED",
        "Replay error: ",
        "logic",
        "error",
        None,
    ),
]

EXAMPLES = [
    ComponentError("c", hint="try", details={"a": [1, {"b": None}]}),
    NotFoundError("n", code="TOOL_NOT_FOUND"),
    PluginError("p"),
    ProviderError("x", provider="openai", kind="auth", status_code=401, request_id="r-1"),
    RateLimitError("slow", provider="openai", retry_after=2.5),
    ScriptError("s", language="lua", line=3, traceback="stack traceback:\n…"),
    ToolError("t", tool_name="calculator"),
    WorkflowError("w", step="one"),
    StorageError("st", operation="lock"),
    SecurityError("se", violation_type="path", permission_required="file"),
    ValidationError("v", field="name"),
    ResourceLimitError("memory", limit=100, used=200),
    LLMTimeoutError("t", duration_ms=1500, operation="tool"),
    NetworkError("n", retryable=False),
    UnsettledEffectError("u", details={"sequence": 1}),
    InternalError("ünïcode \U0001f511 \x00"),
]


@pytest.mark.parametrize(
    ("cls", "error_type", "code", "prefix", "category", "severity", "delay"),
    TABLE,
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_class_has_its_row(cls, error_type, code, prefix, category, severity, delay) -> None:
    error = cls("what happened")
    assert str(error) == f"{prefix}what happened"
    assert (
        error.to_dict().items()
        >= {
            "type": error_type,
            "code": code,
            "message": "what happened",
            "hint": None,
            "details": {},
            "severity": severity,
            "category": category,
            "retryable": delay is not None,
            "retry_after": None,
        }.items()
    )
    assert (error.is_retryable(), error.retry_delay_ms()) == (delay is not None, delay)


def test_the_table_knows_every_class() -> None:
    def below(cls):
        return {cls, *(leaf for sub in cls.__subclasses__() for leaf in below(sub))}

    ours = {cls for cls in below(LLMSpellError) if cls.__module__ == "llmspell_core._errors"}
    assert ours == {LLMSpellError, ResourceLimitError, *(row[0] for row in TABLE)}
    assert {cls.__name__ for cls in ours} <= set(llmspell_core.__all__)


def test_limits_write_their_own_message() -> None:
    error = ResourceLimitError("memory", limit="50 MB", used="51 MB")
    assert str(error) == ("Resource limit exceeded: memory limit of 50 MB exceeded (used: 51 MB)")
    assert (error.code, error.is_retryable()) == ("RESOURCE_LIMIT", False)


def test_severities_rise() -> None:
    assert [s.value for s in Severity] == ["info", "warning", "error", "critical", "fatal"]
    assert [c.value for c in Category] == [
        "configuration",
        "network",
        "resource",
        "security",
        "logic",
        "external",
        "internal",
    ]


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (ProviderError("x", kind="server"), 2000),
        (ProviderError("x", kind="protocol"), 2000),
        (ProviderError("x", kind="auth"), None),
        (ProviderError("x", kind="quota"), None),
        (StorageError("x", operation="read"), 100),
        (StorageError("x", operation="write"), 100),
        (StorageError("x", operation="lock"), 100),
        (StorageError("x", operation="open"), None),
        (LLMTimeoutError("x", duration_ms=300), 600),
        (RateLimitError("x", retry_after=1.5), 1500),
        (RateLimitError("x", retry_after=0.0), 0),
        (NetworkError("x", retryable=False), None),
        (NetworkError("x", retry_after=3), 3000),
        (ValidationError("x", retry_after=3), None),
    ],
    ids=repr,
)
def test_what_is_worth_a_retry_and_when(error: LLMSpellError, delay: int | None) -> None:
    assert error.retry_delay_ms() == delay


def test_a_source_becomes_the_cause_where_it_tells_something() -> None:
    source = OSError("disk")
    error = StorageError("cannot write", source=source)
    assert (error.source, error.__cause__) == (source, source)
    assert ToolError("x").with_source(source).source is source
    for cls in (SecurityError, ValidationError, LLMTimeoutError, RateLimitError, ReplayError):
        silent = cls("x", source=source)
        assert (silent.source, silent.__cause__) == (None, None)
        assert silent.with_source(source) is silent


def test_a_timeout_is_pythons_timeout() -> None:
    with pytest.raises(TimeoutError, match="Timeout error: too long"):
        raise LLMTimeoutError("too long")


def test_control_flow_is_outside_the_tree() -> None:
    assert not issubclass(ExecutionCancelled, Exception)
    assert not issubclass(ScriptExit, Exception)
    assert ExecutionCancelled("why").reason == "why"
    assert ScriptExit(3).exit_code == 3
    assert pickle.loads(pickle.dumps(ExecutionCancelled("why"))).reason == "why"
    assert pickle.loads(pickle.dumps(ScriptExit(3))).exit_code == 3


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_pickling_keeps_everything(error: LLMSpellError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert again.__dict__ == error.__dict__
        assert again.to_dict() == error.to_dict()


def test_pickling_keeps_the_text_of_the_cause() -> None:
    again = pickle.loads(pickle.dumps(ToolError("x", source=OSError("disk"), details={"a": 1})))
    assert again.details == {"a": 1, "source": "OSError: disk"}
    assert again.source is None


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_the_ledger_gives_the_same_error_back(error: LLMSpellError) -> None:
    import json

    again = error_from_record(json.loads(json.dumps(error_to_record(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.to_dict() == error.to_dict()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [ValueError("v"), KeyError("k"), TypeError(), OSError(2, "No such file"), RuntimeError("a", 1)],
    ids=repr,
)
def test_pythons_own_errors_come_back(error: Exception) -> None:
    again = error_from_record(error_to_record(error))
    assert type(again) in type(error).__mro__
    assert str(again) == str(error)


class Elsewhere(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [Elsewhere("gone"), ExceptionGroup("group", [ValueError("x")]), b"\xff"],
    ids=repr,
)
def test_what_cannot_be_rebuilt_is_an_internal_error(error) -> None:
    if isinstance(error, bytes):
        with pytest.raises(UnicodeDecodeError) as caught:
            error.decode()
        error = caught.value
    again = error_from_record(error_to_record(error))
    assert type(again) is InternalError
    assert str(error) in str(again)
    assert type(error).__name__ in str(again)


def test_a_record_is_not_a_way_to_call_builtins() -> None:
    record = {"class": "print", "state": {"message": "x"}, "details": {}}
    assert type(error_from_record(record)) is InternalError


def test_details_without_a_json_form_are_kept_as_text() -> None:
    thing = object()
    record = error_to_record(ToolError("x", details={"thing": thing, 1: "one", "ok": [1]}))
    assert record["details"] == {"thing": repr(thing), "1": "one", "ok": [1]}


def test_nearest_names_what_was_meant() -> None:
    known = ["calculator", "file_operations", "uuid_generator"]
    assert nearest("calculater", known) == "calculator"
    assert nearest("uuid_generatr", tuple(known)) == "uuid_generator"
    assert nearest("xyz", known) is None
    assert nearest("", []) is None


def test_what_was_done_before_a_failure_stays_in_the_process() -> None:
    error = NetworkError("gone")
    assert error.partial is None
    error.partial = AgentOutput("so far")
    assert error_to_record(error) == error_to_record(NetworkError("gone"))
    assert pickle.loads(pickle.dumps(error)).partial is None
    assert ExecutionCancelled("enough").partial is None
