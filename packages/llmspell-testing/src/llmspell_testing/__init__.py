"""Public test doubles, fixtures and one conformance suite per LLMSpell abstract base.

The doubles need nothing but `llmspell_core`; the suites need pytest, see `llmspell_testing.suites`.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_testing._echo import EchoProvider as EchoProvider
    from llmspell_testing._gate import Gate as Gate
    from llmspell_testing._loopback import RESET as RESET
    from llmspell_testing._loopback import Exchange as Exchange
    from llmspell_testing._loopback import HttpRequest as HttpRequest
    from llmspell_testing._loopback import LoopbackServer as LoopbackServer
    from llmspell_testing._loopback import http_chunk as http_chunk
    from llmspell_testing._loopback import http_head as http_head
    from llmspell_testing._loopback import http_response as http_response
    from llmspell_testing._model_server import ModelServer as ModelServer
    from llmspell_testing._model_server import model_vendors as model_vendors
    from llmspell_testing._registries import AgentsDouble as AgentsDouble
    from llmspell_testing._registries import ProvidersDouble as ProvidersDouble
    from llmspell_testing._registries import SecurityDouble as SecurityDouble
    from llmspell_testing._registries import TenancyDouble as TenancyDouble
    from llmspell_testing._registries import ToolsDouble as ToolsDouble
    from llmspell_testing._registries import WorkflowsDouble as WorkflowsDouble
    from llmspell_testing._retrieval import ChunkerDouble as ChunkerDouble
    from llmspell_testing._retrieval import EmbedderDouble as EmbedderDouble
    from llmspell_testing._retrieval import VectorsDouble as VectorsDouble
    from llmspell_testing._scripted import Reply as Reply
    from llmspell_testing._scripted import ScriptedProvider as ScriptedProvider
    from llmspell_testing._scripted import ScriptUsedUp as ScriptUsedUp
    from llmspell_testing._signals import EventsDouble as EventsDouble
    from llmspell_testing._signals import HooksDouble as HooksDouble
    from llmspell_testing._stores import BackendDouble as BackendDouble
    from llmspell_testing._stores import LedgerDouble as LedgerDouble
    from llmspell_testing._stores import StateDouble as StateDouble
    from llmspell_testing._worlds import HostDouble as HostDouble
    from llmspell_testing._worlds import make_context as make_context
    from llmspell_testing._worlds import make_services as make_services
    from llmspell_testing._worlds import recorded_and_replayed as recorded_and_replayed
    from llmspell_testing._worlds import recording_context as recording_context
    from llmspell_testing._worlds import replaying_context as replaying_context
    from llmspell_testing.suites._components import AgentSuite as AgentSuite
    from llmspell_testing.suites._components import ComponentSuite as ComponentSuite
    from llmspell_testing.suites._components import ToolSuite as ToolSuite
    from llmspell_testing.suites._components import WorkflowSuite as WorkflowSuite
    from llmspell_testing.suites._engine import Programs as Programs
    from llmspell_testing.suites._engine import ScriptEngineSuite as ScriptEngineSuite
    from llmspell_testing.suites._events import EventBusSuite as EventBusSuite
    from llmspell_testing.suites._hooks import HookExecutorSuite as HookExecutorSuite
    from llmspell_testing.suites._ledger import RunLedgerSuite as RunLedgerSuite
    from llmspell_testing.suites._provider import ProviderSuite as ProviderSuite
    from llmspell_testing.suites._retrieval import ChunkerSuite as ChunkerSuite
    from llmspell_testing.suites._retrieval import EmbedderSuite as EmbedderSuite
    from llmspell_testing.suites._state import StateStoreSuite as StateStoreSuite
    from llmspell_testing.suites._storage import StorageBackendSuite as StorageBackendSuite
    from llmspell_testing.suites._vectors import VectorStoreSuite as VectorStoreSuite
    from llmspell_testing.vendors._vendor import Call as Call
    from llmspell_testing.vendors._vendor import Fault as Fault
    from llmspell_testing.vendors._vendor import Limits as Limits

__all__ = [
    "RESET",
    "AgentSuite",
    "AgentsDouble",
    "BackendDouble",
    "Call",
    "ChunkerDouble",
    "ChunkerSuite",
    "ComponentSuite",
    "EchoProvider",
    "EmbedderDouble",
    "EmbedderSuite",
    "EventBusSuite",
    "EventsDouble",
    "Exchange",
    "Fault",
    "Gate",
    "HookExecutorSuite",
    "HooksDouble",
    "HostDouble",
    "HttpRequest",
    "LedgerDouble",
    "Limits",
    "LoopbackServer",
    "ModelServer",
    "Programs",
    "ProviderSuite",
    "ProvidersDouble",
    "Reply",
    "RunLedgerSuite",
    "ScriptEngineSuite",
    "ScriptUsedUp",
    "ScriptedProvider",
    "SecurityDouble",
    "StateDouble",
    "StateStoreSuite",
    "StorageBackendSuite",
    "TenancyDouble",
    "ToolSuite",
    "ToolsDouble",
    "VectorStoreSuite",
    "VectorsDouble",
    "WorkflowSuite",
    "WorkflowsDouble",
    "http_chunk",
    "http_head",
    "http_response",
    "make_context",
    "make_services",
    "model_vendors",
    "recorded_and_replayed",
    "recording_context",
    "replaying_context",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "RESET": "_loopback",
        "AgentSuite": "suites._components",
        "AgentsDouble": "_registries",
        "BackendDouble": "_stores",
        "Call": "vendors._vendor",
        "ChunkerDouble": "_retrieval",
        "ChunkerSuite": "suites._retrieval",
        "ComponentSuite": "suites._components",
        "EchoProvider": "_echo",
        "EmbedderDouble": "_retrieval",
        "EmbedderSuite": "suites._retrieval",
        "EventBusSuite": "suites._events",
        "EventsDouble": "_signals",
        "Exchange": "_loopback",
        "Fault": "vendors._vendor",
        "Gate": "_gate",
        "HookExecutorSuite": "suites._hooks",
        "HooksDouble": "_signals",
        "HostDouble": "_worlds",
        "HttpRequest": "_loopback",
        "LedgerDouble": "_stores",
        "Limits": "vendors._vendor",
        "LoopbackServer": "_loopback",
        "ModelServer": "_model_server",
        "Programs": "suites._engine",
        "ProviderSuite": "suites._provider",
        "ProvidersDouble": "_registries",
        "Reply": "_scripted",
        "RunLedgerSuite": "suites._ledger",
        "ScriptEngineSuite": "suites._engine",
        "ScriptUsedUp": "_scripted",
        "ScriptedProvider": "_scripted",
        "SecurityDouble": "_registries",
        "StateDouble": "_stores",
        "StateStoreSuite": "suites._state",
        "StorageBackendSuite": "suites._storage",
        "TenancyDouble": "_registries",
        "ToolSuite": "suites._components",
        "ToolsDouble": "_registries",
        "VectorStoreSuite": "suites._vectors",
        "VectorsDouble": "_retrieval",
        "WorkflowSuite": "suites._components",
        "WorkflowsDouble": "_registries",
        "http_chunk": "_loopback",
        "http_head": "_loopback",
        "http_response": "_loopback",
        "make_context": "_worlds",
        "make_services": "_worlds",
        "model_vendors": "_model_server",
        "recorded_and_replayed": "_worlds",
        "recording_context": "_worlds",
        "replaying_context": "_worlds",
    },
)
