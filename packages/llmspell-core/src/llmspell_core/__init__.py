"""The house everything else in LLMSpell is built in: bases, values, errors, plugins, services.

Standard library only. Names load on first use, so importing this package costs next to nothing.
"""

from typing import TYPE_CHECKING

from llmspell_core._lazy import lazy_exports

if TYPE_CHECKING:
    from llmspell_core._bases import (
        CONTINUE as CONTINUE,
    )
    from llmspell_core._bases import (
        AgentRegistry as AgentRegistry,
    )
    from llmspell_core._bases import (
        Event as Event,
    )
    from llmspell_core._bases import (
        EventBus as EventBus,
    )
    from llmspell_core._bases import (
        EventHandler as EventHandler,
    )
    from llmspell_core._bases import (
        Hook as Hook,
    )
    from llmspell_core._bases import (
        HookExecutor as HookExecutor,
    )
    from llmspell_core._bases import (
        HookOutcome as HookOutcome,
    )
    from llmspell_core._bases import (
        ProviderRegistry as ProviderRegistry,
    )
    from llmspell_core._bases import (
        Security as Security,
    )
    from llmspell_core._bases import (
        Tenancy as Tenancy,
    )
    from llmspell_core._bases import (
        ToolInfo as ToolInfo,
    )
    from llmspell_core._bases import (
        ToolRegistry as ToolRegistry,
    )
    from llmspell_core._bases import (
        WorkflowRegistry as WorkflowRegistry,
    )
    from llmspell_core._canonical import (
        canonical as canonical,
    )
    from llmspell_core._canonical import (
        digest as digest,
    )
    from llmspell_core._canonical import (
        from_canonical as from_canonical,
    )
    from llmspell_core._chat import (
        ChatChunk as ChatChunk,
    )
    from llmspell_core._chat import (
        ChatRequest as ChatRequest,
    )
    from llmspell_core._chat import (
        ChatResponse as ChatResponse,
    )
    from llmspell_core._chat import (
        Message as Message,
    )
    from llmspell_core._chat import (
        Provider as Provider,
    )
    from llmspell_core._chat import (
        ProviderFactory as ProviderFactory,
    )
    from llmspell_core._chat import (
        ProviderInfo as ProviderInfo,
    )
    from llmspell_core._chat import (
        ProviderSettings as ProviderSettings,
    )
    from llmspell_core._chat import (
        ToolRequest as ToolRequest,
    )
    from llmspell_core._component import (
        PARAMETER_TYPES as PARAMETER_TYPES,
    )
    from llmspell_core._component import (
        Agent as Agent,
    )
    from llmspell_core._component import (
        BaseAgent as BaseAgent,
    )
    from llmspell_core._component import (
        Parameter as Parameter,
    )
    from llmspell_core._component import (
        SecurityLevel as SecurityLevel,
    )
    from llmspell_core._component import (
        Tool as Tool,
    )
    from llmspell_core._component import (
        ToolResult as ToolResult,
    )
    from llmspell_core._component import (
        ToolSchema as ToolSchema,
    )
    from llmspell_core._component import (
        Workflow as Workflow,
    )
    from llmspell_core._config import (
        Config as Config,
    )
    from llmspell_core._config import (
        data_directory as data_directory,
    )
    from llmspell_core._config import (
        setting as setting,
    )
    from llmspell_core._context import (
        CancelSignal as CancelSignal,
    )
    from llmspell_core._context import (
        Deadline as Deadline,
    )
    from llmspell_core._context import (
        ExecutionContext as ExecutionContext,
    )
    from llmspell_core._context import (
        new_id as new_id,
    )
    from llmspell_core._effects import (
        JSON_CODEC as JSON_CODEC,
    )
    from llmspell_core._effects import (
        Codec as Codec,
    )
    from llmspell_core._effects import (
        EffectPolicy as EffectPolicy,
    )
    from llmspell_core._effects import (
        Passing as Passing,
    )
    from llmspell_core._effects import (
        Recording as Recording,
    )
    from llmspell_core._effects import (
        Replaying as Replaying,
    )
    from llmspell_core._effects import (
        Resuming as Resuming,
    )
    from llmspell_core._errors import (
        Category as Category,
    )
    from llmspell_core._errors import (
        ComponentError as ComponentError,
    )
    from llmspell_core._errors import (
        ConfigurationError as ConfigurationError,
    )
    from llmspell_core._errors import (
        DuplicateError as DuplicateError,
    )
    from llmspell_core._errors import (
        ExecutionCancelled as ExecutionCancelled,
    )
    from llmspell_core._errors import (
        InternalError as InternalError,
    )
    from llmspell_core._errors import (
        LLMSpellError as LLMSpellError,
    )
    from llmspell_core._errors import (
        LLMTimeoutError as LLMTimeoutError,
    )
    from llmspell_core._errors import (
        NetworkError as NetworkError,
    )
    from llmspell_core._errors import (
        NotFoundError as NotFoundError,
    )
    from llmspell_core._errors import (
        PluginError as PluginError,
    )
    from llmspell_core._errors import (
        ProviderError as ProviderError,
    )
    from llmspell_core._errors import (
        RateLimitError as RateLimitError,
    )
    from llmspell_core._errors import (
        ReplayError as ReplayError,
    )
    from llmspell_core._errors import (
        ResourceError as ResourceError,
    )
    from llmspell_core._errors import (
        ResourceLimitError as ResourceLimitError,
    )
    from llmspell_core._errors import (
        ScriptError as ScriptError,
    )
    from llmspell_core._errors import (
        ScriptExit as ScriptExit,
    )
    from llmspell_core._errors import (
        SecurityError as SecurityError,
    )
    from llmspell_core._errors import (
        Severity as Severity,
    )
    from llmspell_core._errors import (
        StorageError as StorageError,
    )
    from llmspell_core._errors import (
        ToolError as ToolError,
    )
    from llmspell_core._errors import (
        UnsettledEffectError as UnsettledEffectError,
    )
    from llmspell_core._errors import (
        ValidationError as ValidationError,
    )
    from llmspell_core._errors import (
        WorkflowError as WorkflowError,
    )
    from llmspell_core._errors import (
        nearest as nearest,
    )
    from llmspell_core._io import (
        IO_LOOP as IO_LOOP,
    )
    from llmspell_core._io import (
        IoLoop as IoLoop,
    )
    from llmspell_core._io import (
        OpenOnce as OpenOnce,
    )
    from llmspell_core._io import (
        run_sync as run_sync,
    )
    from llmspell_core._ledger import (
        Effect as Effect,
    )
    from llmspell_core._ledger import (
        EffectClass as EffectClass,
    )
    from llmspell_core._ledger import (
        Intent as Intent,
    )
    from llmspell_core._ledger import (
        Outcome as Outcome,
    )
    from llmspell_core._ledger import (
        RunLedger as RunLedger,
    )
    from llmspell_core._ledger import (
        RunRecord as RunRecord,
    )
    from llmspell_core._ledger import (
        RunStatus as RunStatus,
    )
    from llmspell_core._operations import (
        Operation as Operation,
    )
    from llmspell_core._operations import (
        OperationParameter as OperationParameter,
    )
    from llmspell_core._operations import (
        Operations as Operations,
    )
    from llmspell_core._operations import (
        operation as operation,
    )
    from llmspell_core._plugins import (
        GROUPS as GROUPS,
    )
    from llmspell_core._plugins import (
        Plugin as Plugin,
    )
    from llmspell_core._plugins import (
        PluginIndex as PluginIndex,
    )
    from llmspell_core._retrieval import (
        Chunk as Chunk,
    )
    from llmspell_core._retrieval import (
        Chunker as Chunker,
    )
    from llmspell_core._retrieval import (
        Document as Document,
    )
    from llmspell_core._retrieval import (
        Embedder as Embedder,
    )
    from llmspell_core._retrieval import (
        IngestReport as IngestReport,
    )
    from llmspell_core._retrieval import (
        Passage as Passage,
    )
    from llmspell_core._retrieval import (
        Retriever as Retriever,
    )
    from llmspell_core._script import (
        Exposure as Exposure,
    )
    from llmspell_core._script import (
        Input as Input,
    )
    from llmspell_core._script import (
        Items as Items,
    )
    from llmspell_core._script import (
        Live as Live,
    )
    from llmspell_core._script import (
        Output as Output,
    )
    from llmspell_core._script import (
        Record as Record,
    )
    from llmspell_core._script import (
        Returns as Returns,
    )
    from llmspell_core._script import (
        ScriptArguments as ScriptArguments,
    )
    from llmspell_core._script import (
        ScriptEngine as ScriptEngine,
    )
    from llmspell_core._script import (
        ScriptFunction as ScriptFunction,
    )
    from llmspell_core._script import (
        ScriptHost as ScriptHost,
    )
    from llmspell_core._script import (
        ScriptResult as ScriptResult,
    )
    from llmspell_core._script import (
        ScriptState as ScriptState,
    )
    from llmspell_core._script import (
        Source as Source,
    )
    from llmspell_core._script import (
        attribute as attribute,
    )
    from llmspell_core._script import (
        camel as camel,
    )
    from llmspell_core._script import (
        exposed as exposed,
    )
    from llmspell_core._script import (
        script_global as script_global,
    )
    from llmspell_core._script import (
        script_object as script_object,
    )
    from llmspell_core._secrets import (
        Secrets as Secrets,
    )
    from llmspell_core._services import (
        Services as Services,
    )
    from llmspell_core._stores import (
        StateStore as StateStore,
    )
    from llmspell_core._stores import (
        StateUsage as StateUsage,
    )
    from llmspell_core._stores import (
        StorageBackend as StorageBackend,
    )
    from llmspell_core._stores import (
        StorageStats as StorageStats,
    )
    from llmspell_core._stores import (
        VectorEntry as VectorEntry,
    )
    from llmspell_core._stores import (
        VectorHit as VectorHit,
    )
    from llmspell_core._stores import (
        VectorQuery as VectorQuery,
    )
    from llmspell_core._stores import (
        VectorStats as VectorStats,
    )
    from llmspell_core._stores import (
        VectorStore as VectorStore,
    )
    from llmspell_core._values import (
        AgentChunk as AgentChunk,
    )
    from llmspell_core._values import (
        AgentInput as AgentInput,
    )
    from llmspell_core._values import (
        AgentOutput as AgentOutput,
    )
    from llmspell_core._values import (
        ComponentMetadata as ComponentMetadata,
    )
    from llmspell_core._values import (
        ToolCall as ToolCall,
    )
    from llmspell_core._values import (
        Usage as Usage,
    )
    from llmspell_core._values import (
        Version as Version,
    )
    from llmspell_core._values import (
        component_id as component_id,
    )

__all__ = [  # noqa: RUF022 - sorted
    "Agent",
    "AgentChunk",
    "AgentInput",
    "AgentOutput",
    "AgentRegistry",
    "BaseAgent",
    "CONTINUE",
    "CancelSignal",
    "Category",
    "ChatChunk",
    "ChatRequest",
    "ChatResponse",
    "Chunk",
    "Chunker",
    "Codec",
    "ComponentError",
    "ComponentMetadata",
    "Config",
    "ConfigurationError",
    "Deadline",
    "Document",
    "DuplicateError",
    "Effect",
    "EffectClass",
    "EffectPolicy",
    "Embedder",
    "Event",
    "EventBus",
    "EventHandler",
    "ExecutionCancelled",
    "ExecutionContext",
    "Exposure",
    "GROUPS",
    "Hook",
    "HookExecutor",
    "HookOutcome",
    "IO_LOOP",
    "IngestReport",
    "Input",
    "Intent",
    "InternalError",
    "IoLoop",
    "Items",
    "JSON_CODEC",
    "LLMSpellError",
    "LLMTimeoutError",
    "Live",
    "Message",
    "NetworkError",
    "NotFoundError",
    "OpenOnce",
    "Operation",
    "OperationParameter",
    "Operations",
    "Outcome",
    "Output",
    "PARAMETER_TYPES",
    "Parameter",
    "Passage",
    "Passing",
    "Plugin",
    "PluginError",
    "PluginIndex",
    "Provider",
    "ProviderError",
    "ProviderFactory",
    "ProviderInfo",
    "ProviderRegistry",
    "ProviderSettings",
    "RateLimitError",
    "Record",
    "Recording",
    "ReplayError",
    "Replaying",
    "ResourceError",
    "ResourceLimitError",
    "Resuming",
    "Retriever",
    "Returns",
    "RunLedger",
    "RunRecord",
    "RunStatus",
    "ScriptArguments",
    "ScriptEngine",
    "ScriptError",
    "ScriptExit",
    "ScriptFunction",
    "ScriptHost",
    "ScriptResult",
    "ScriptState",
    "Secrets",
    "Security",
    "SecurityError",
    "SecurityLevel",
    "Services",
    "Severity",
    "Source",
    "StateStore",
    "StateUsage",
    "StorageBackend",
    "StorageError",
    "StorageStats",
    "Tenancy",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolInfo",
    "ToolRegistry",
    "ToolRequest",
    "ToolResult",
    "ToolSchema",
    "UnsettledEffectError",
    "Usage",
    "ValidationError",
    "VectorEntry",
    "VectorHit",
    "VectorQuery",
    "VectorStats",
    "VectorStore",
    "Version",
    "Workflow",
    "WorkflowError",
    "WorkflowRegistry",
    "attribute",
    "camel",
    "canonical",
    "component_id",
    "data_directory",
    "digest",
    "exposed",
    "from_canonical",
    "lazy_exports",
    "nearest",
    "new_id",
    "operation",
    "run_sync",
    "script_global",
    "script_object",
    "setting",
]

_HOMES = {
    "Agent": "_component",
    "AgentChunk": "_values",
    "AgentInput": "_values",
    "AgentOutput": "_values",
    "AgentRegistry": "_bases",
    "BaseAgent": "_component",
    "CONTINUE": "_bases",
    "CancelSignal": "_context",
    "Category": "_errors",
    "ChatChunk": "_chat",
    "ChatRequest": "_chat",
    "ChatResponse": "_chat",
    "Chunk": "_retrieval",
    "Chunker": "_retrieval",
    "Codec": "_effects",
    "ComponentError": "_errors",
    "ComponentMetadata": "_values",
    "Config": "_config",
    "ConfigurationError": "_errors",
    "Deadline": "_context",
    "Document": "_retrieval",
    "DuplicateError": "_errors",
    "Effect": "_ledger",
    "EffectClass": "_ledger",
    "EffectPolicy": "_effects",
    "Embedder": "_retrieval",
    "Event": "_bases",
    "EventBus": "_bases",
    "EventHandler": "_bases",
    "ExecutionCancelled": "_errors",
    "ExecutionContext": "_context",
    "Exposure": "_script",
    "GROUPS": "_plugins",
    "Hook": "_bases",
    "HookExecutor": "_bases",
    "HookOutcome": "_bases",
    "IO_LOOP": "_io",
    "IngestReport": "_retrieval",
    "Input": "_script",
    "Intent": "_ledger",
    "InternalError": "_errors",
    "IoLoop": "_io",
    "Items": "_script",
    "JSON_CODEC": "_effects",
    "LLMSpellError": "_errors",
    "LLMTimeoutError": "_errors",
    "Live": "_script",
    "Message": "_chat",
    "NetworkError": "_errors",
    "NotFoundError": "_errors",
    "OpenOnce": "_io",
    "Operation": "_operations",
    "OperationParameter": "_operations",
    "Operations": "_operations",
    "Outcome": "_ledger",
    "Output": "_script",
    "PARAMETER_TYPES": "_component",
    "Parameter": "_component",
    "Passage": "_retrieval",
    "Passing": "_effects",
    "Plugin": "_plugins",
    "PluginError": "_errors",
    "PluginIndex": "_plugins",
    "Provider": "_chat",
    "ProviderError": "_errors",
    "ProviderFactory": "_chat",
    "ProviderInfo": "_chat",
    "ProviderRegistry": "_bases",
    "ProviderSettings": "_chat",
    "RateLimitError": "_errors",
    "Record": "_script",
    "Recording": "_effects",
    "ReplayError": "_errors",
    "Replaying": "_effects",
    "ResourceError": "_errors",
    "ResourceLimitError": "_errors",
    "Resuming": "_effects",
    "Retriever": "_retrieval",
    "Returns": "_script",
    "RunLedger": "_ledger",
    "RunRecord": "_ledger",
    "RunStatus": "_ledger",
    "ScriptArguments": "_script",
    "ScriptEngine": "_script",
    "ScriptError": "_errors",
    "ScriptExit": "_errors",
    "ScriptFunction": "_script",
    "ScriptHost": "_script",
    "ScriptResult": "_script",
    "ScriptState": "_script",
    "Secrets": "_secrets",
    "Security": "_bases",
    "SecurityError": "_errors",
    "SecurityLevel": "_component",
    "Services": "_services",
    "Severity": "_errors",
    "Source": "_script",
    "StateStore": "_stores",
    "StateUsage": "_stores",
    "StorageBackend": "_stores",
    "StorageError": "_errors",
    "StorageStats": "_stores",
    "Tenancy": "_bases",
    "Tool": "_component",
    "ToolCall": "_values",
    "ToolError": "_errors",
    "ToolInfo": "_bases",
    "ToolRegistry": "_bases",
    "ToolRequest": "_chat",
    "ToolResult": "_component",
    "ToolSchema": "_component",
    "UnsettledEffectError": "_errors",
    "Usage": "_values",
    "ValidationError": "_errors",
    "VectorEntry": "_stores",
    "VectorHit": "_stores",
    "VectorQuery": "_stores",
    "VectorStats": "_stores",
    "VectorStore": "_stores",
    "Version": "_values",
    "Workflow": "_component",
    "WorkflowError": "_errors",
    "WorkflowRegistry": "_bases",
    "attribute": "_script",
    "camel": "_script",
    "canonical": "_canonical",
    "component_id": "_values",
    "data_directory": "_config",
    "digest": "_canonical",
    "exposed": "_script",
    "from_canonical": "_canonical",
    "nearest": "_errors",
    "new_id": "_context",
    "operation": "_operations",
    "run_sync": "_io",
    "script_global": "_script",
    "script_object": "_script",
    "setting": "_config",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
