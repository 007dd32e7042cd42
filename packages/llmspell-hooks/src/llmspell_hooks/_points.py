"""The hook points and the other names they go by."""

from __future__ import annotations

from llmspell_core import ValidationError, nearest

POINTS: dict[str, tuple[str, ...]] = {
    "agent": (
        "BeforeAgentInit",
        "AfterAgentInit",
        "BeforeAgentExecution",
        "AfterAgentExecution",
        "AgentError",
        "BeforeAgentShutdown",
        "AfterAgentShutdown",
    ),
    "tool": (
        "BeforeToolDiscovery",
        "AfterToolDiscovery",
        "BeforeToolExecution",
        "AfterToolExecution",
        "ToolValidation",
        "ToolError",
    ),
    "workflow": (
        "BeforeWorkflowStart",
        "WorkflowStageTransition",
        "BeforeWorkflowStage",
        "AfterWorkflowStage",
        "WorkflowCheckpoint",
        "WorkflowRollback",
        "AfterWorkflowComplete",
        "WorkflowError",
    ),
    "state": (
        "BeforeStateRead",
        "AfterStateRead",
        "BeforeStateWrite",
        "AfterStateWrite",
        "StateConflict",
        "StateMigration",
    ),
    "system": (
        "SystemStartup",
        "SystemShutdown",
        "ConfigurationChange",
        "ResourceLimitExceeded",
        "SecurityViolation",
    ),
    "session": ("SessionStart", "SessionEnd", "SessionCheckpoint", "SessionRestore", "SessionSave"),
    "event": ("BeforeEventEmit", "AfterEventEmit", "EventHandlerError"),
    "performance": ("PerformanceThresholdExceeded", "MemoryUsageHigh", "CpuUsageHigh"),
    "kernel": (
        "PreKernelStartup",
        "PostKernelStartup",
        "PreCodeExecution",
        "PostCodeExecution",
        "PostScriptLoad",
        "PostStateChange",
        "PreDebugSession",
        "PostDebugSession",
        "PreBreakpoint",
        "PostBreakpoint",
        "PostIOPubBroadcast",
        "ExecutionError",
    ),
    "artifact": (
        "artifact:before_create",
        "artifact:after_create",
        "artifact:before_modify",
        "artifact:after_modify",
        "artifact:before_delete",
        "artifact:after_delete",
        "artifact:before_validate",
        "artifact:after_validate",
        "artifact:validation_failed",
        "artifact:derived",
        "artifact:accessed",
    ),
}
"""The points by what they are about. ``custom:<name>`` is a point of the user's own."""

ALIASES = {
    "BeforeToolInvocation": "BeforeToolExecution",
    "AfterToolInvocation": "AfterToolExecution",
    "OnAgentError": "AgentError",
    "OnToolError": "ToolError",
    "BeforeStep": "BeforeWorkflowStage",
    "BeforeWorkflowStep": "BeforeWorkflowStage",
    "AfterStep": "AfterWorkflowStage",
    "AfterWorkflowStep": "AfterWorkflowStage",
    "OnSessionCreate": "SessionStart",
    "OnSessionEnd": "SessionEnd",
}


def _folded(name: str) -> str:
    return name if ":" in name else name.replace("_", "").lower()


_BY_FOLDED = {_folded(point): point for group in POINTS.values() for point in group} | {
    _folded(alias): point for alias, point in ALIASES.items()
}


def resolve_point(name: str) -> str:
    """The hook point called *name*: by its name in CamelCase or snake_case, by an alias, or
    ``custom:<anything>``.

    Raises:
        ValidationError: ``Unknown hook point: <name>``.
    """
    if name.startswith("custom:") and len(name) > len("custom:"):
        return name
    found = _BY_FOLDED.get(_folded(name))
    if found is None:
        close = nearest(name, [*_BY_FOLDED.values(), *ALIASES])
        raise ValidationError(
            f"Unknown hook point: {name}",
            field="point",
            hint=f"Did you mean '{close}'?" if close else f"A point of your own: 'custom:{name}'",
        )
    return found
