"""The doubles keep the contracts they stand in for."""

import pytest

from llmspell_core import (
    Agent,
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    ComponentMetadata,
    Embedder,
    EventBus,
    ExecutionContext,
    HookExecutor,
    Parameter,
    ProviderError,
    ProviderSettings,
    RunLedger,
    StateStore,
    StorageBackend,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
    VectorStore,
    Workflow,
)
from llmspell_testing import (
    BackendDouble,
    ChunkerDouble,
    EchoProvider,
    EmbedderDouble,
    EventsDouble,
    HooksDouble,
    LedgerDouble,
    Reply,
    ScriptedProvider,
    StateDouble,
    VectorsDouble,
    make_services,
)
from llmspell_testing.suites import (
    AgentSuite,
    ChunkerSuite,
    EmbedderSuite,
    EventBusSuite,
    HookExecutorSuite,
    ProviderSuite,
    RunLedgerSuite,
    StateStoreSuite,
    StorageBackendSuite,
    ToolSuite,
    VectorStoreSuite,
    WorkflowSuite,
)


class TestBackendDouble(StorageBackendSuite):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return BackendDouble()

    @pytest.fixture
    def another(self) -> StorageBackend:
        return BackendDouble()


class TestVectorsDouble(VectorStoreSuite):
    @pytest.fixture
    def store(self) -> VectorStore:
        return VectorsDouble()


class TestLedgerDouble(RunLedgerSuite):
    @pytest.fixture
    def ledger(self) -> RunLedger:
        return LedgerDouble()


class TestStateDouble(StateStoreSuite):
    @pytest.fixture
    def state(self) -> StateStore:
        return StateDouble()


class TestEmbedderDouble(EmbedderSuite):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return EmbedderDouble()


class TestChunkerDouble(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> ChunkerDouble:
        return ChunkerDouble()


class TestEventsDouble(EventBusSuite):
    @pytest.fixture
    def bus(self) -> EventBus:
        return EventsDouble(listening=False)


class TestHooksDouble(HookExecutorSuite):
    @pytest.fixture
    def hooks(self) -> HookExecutor:
        return HooksDouble("BeforeToolExecution", "AfterToolExecution")


class TestEchoProvider(ProviderSuite):
    @pytest.fixture
    def provider(self) -> EchoProvider:
        return EchoProvider(ProviderSettings("echo", "echo"), make_services())


class TestScriptedProvider(ProviderSuite):
    @pytest.fixture
    def provider(self) -> ScriptedProvider:
        return ScriptedProvider(*[Reply(pieces=("some ", "words"))] * 10)

    @pytest.fixture
    def failing(self) -> ScriptedProvider:
        down = ProviderError("the model is down", kind="server")
        return ScriptedProvider(down, Reply("half an ans", error=down))


class Mirror(Agent):
    def __init__(self) -> None:
        self._messages: list[dict[str, str]] = []

    @property
    def metadata(self) -> ComponentMetadata:
        return ComponentMetadata("mirror", component_type="agent")

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        output = AgentOutput(input.text[::-1])
        self._messages += [
            {"role": "user", "content": input.text},
            {"role": "assistant", "content": output.text},
        ]
        return output

    @property
    def conversation(self) -> list[dict[str, str]]:
        return self._messages

    def clear_conversation(self) -> None:
        self._messages.clear()

    def supports_streaming(self) -> bool:
        return True

    async def stream(self, input, context):
        output = await self.execute(input, context)
        yield AgentChunk("text", 0, output.text)
        yield AgentChunk("end", 1, output=output)


class TestAgent(AgentSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        return Mirror()


class Adder(Tool):
    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(
            "adder",
            "Adds numbers",
            (Parameter("numbers", "array", "What to add", required=True, items="number"),),
        )

    async def run(self, parameters, context):
        if not parameters["numbers"]:
            raise ValidationError("Nothing to add", field="numbers")
        total = sum(parameters["numbers"])
        return ToolResult(operation="add", result={"sum": total}, text=str(total))


class TestTool(ToolSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        return Adder()

    @pytest.fixture
    def parameters(self):
        return {"numbers": [1, 2.5]}

    @pytest.fixture
    def refused(self):
        return [{"numbers": []}]


class Once(Workflow):
    kind = "sequential"

    @property
    def metadata(self) -> ComponentMetadata:
        return ComponentMetadata("once", component_type="workflow")

    async def execute_impl(self, input, context):
        return AgentOutput("done")


class TestWorkflow(WorkflowSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        return Once()
