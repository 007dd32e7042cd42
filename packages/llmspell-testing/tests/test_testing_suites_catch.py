"""Every suite fails an implementation that breaks one of its promises."""

import re
import subprocess
import sys

import pytest

INI = """\
[pytest]
asyncio_mode = auto
"""

HEAD = """\
import asyncio
from dataclasses import replace
import pytest
from llmspell_core import *
from llmspell_testing import *
from llmspell_testing.suites import *
"""

FAULTS = {
    "backend forgets expectations": """
class Broken(BackendDouble):
    async def write(self, puts, deletes=(), *, expect=None):
        return await super().write(puts, deletes)

class TestIt(StorageBackendSuite):
    @pytest.fixture
    def backend(self):
        return Broken()
""",
    "backend writes key by key": """
class Broken(BackendDouble):
    async def write(self, puts, deletes=(), *, expect=None):
        if expect is not None:
            return await super().write(puts, deletes, expect=expect)
        for key, value in puts.items():
            await super().write({key: value})
            await asyncio.sleep(0)
        return await super().write({}, deletes)

class TestIt(StorageBackendSuite):
    @pytest.fixture
    def backend(self):
        return Broken()
""",
    "backend loses concurrent updates": """
class Broken(BackendDouble):
    async def update(self, key, change):
        old = await self.get(key)
        await asyncio.sleep(0)
        new = change(old)
        await self.set(key, new) if new is not None else await self.delete(key)
        return new

class TestIt(StorageBackendSuite):
    @pytest.fixture
    def backend(self):
        return Broken()
""",
    "backend sorts by bytes of UTF-16": """
class Broken(BackendDouble):
    async def scan(self, prefix=""):
        found = [item async for item in super().scan(prefix)]
        for item in sorted(found, key=lambda item: item[0].encode("utf-16-be")):
            yield item

class TestIt(StorageBackendSuite):
    @pytest.fixture
    def backend(self):
        return Broken()
""",
    "vector store filters after ranking": """
class Broken(VectorsDouble):
    async def nearest(self, vector, query):
        hits = await super().nearest(vector, replace(query, filters=None))
        wanted = query.filters or {}
        return [h for h in hits if all(h.metadata.get(k) == v for k, v in wanted.items())]

class TestIt(VectorStoreSuite):
    @pytest.fixture
    def store(self):
        return Broken()
""",
    "vector store forgets namespaces when deleting": """
class Broken(VectorsDouble):
    async def delete(self, namespace, ids):
        gone = set(ids)
        return self._remove(lambda e: e.id in gone or e.document in gone)

class TestIt(VectorStoreSuite):
    @pytest.fixture
    def store(self):
        return Broken()
""",
    "vector store finds no words": """
class Broken(VectorsDouble):
    async def matching(self, words, query):
        return []

class TestIt(VectorStoreSuite):
    @pytest.fixture
    def store(self):
        return Broken()
""",
    "ledger takes a prefix for an id": """
class Broken(LedgerDouble):
    def run(self, run_id):
        return next((r for r in self.runs() if r.run_id.startswith(run_id)), None)

class TestIt(RunLedgerSuite):
    @pytest.fixture
    def ledger(self):
        return Broken()
""",
    "ledger keeps erased requests": """
class Broken(LedgerDouble):
    def erase_payloads(self, run_id):
        before = dict(self._intents)
        kept = list(self._intents.get(run_id, ()))
        many = super().erase_payloads(run_id)
        if run_id in self._intents:
            self._intents[run_id] = kept
        return many

class TestIt(RunLedgerSuite):
    @pytest.fixture
    def ledger(self):
        return Broken()
""",
    "state shares its values": """
class Broken(StateDouble):
    def __init__(self):
        super().__init__()
        self.shared = {}
    async def set(self, scope, key, value, context):
        await super().set(scope, key, value, context)
        self.shared[context.tenant, scope, key] = value
    async def get(self, scope, key, context):
        return self.shared.get((context.tenant, scope, key))

class TestIt(StateStoreSuite):
    @pytest.fixture
    def state(self):
        return Broken()
""",
    "state forgets tenants": """
class Broken(StateDouble):
    def _scope(self, scope, context):
        return self._values.setdefault((None, scope), {})

class TestIt(StateStoreSuite):
    @pytest.fixture
    def state(self):
        return Broken()
""",
    "embedder does not normalise": """
class Broken(EmbedderDouble):
    def _vector(self, text):
        return [2 * x for x in super()._vector(text)]

class TestIt(EmbedderSuite):
    @pytest.fixture
    def embedder(self):
        return Broken()
""",
    "chunker loses its last piece": """
class Broken(ChunkerDouble):
    def chunk(self, text, *, size, overlap):
        made = super().chunk(text, size=size, overlap=overlap)
        return made[:-1] if len(made) > 1 else made

class TestIt(ChunkerSuite):
    @pytest.fixture
    def chunker(self):
        return Broken()
""",
    "chunker counts lines from 0": """
class Broken(ChunkerDouble):
    def chunk(self, text, *, size, overlap):
        return [
            replace(c, first_line=c.first_line - 1, last_line=c.last_line - 1)
            for c in super().chunk(text, size=size, overlap=overlap)
        ]

class TestIt(ChunkerSuite):
    @pytest.fixture
    def chunker(self):
        return Broken()
""",
    "provider says at the end something else": """
class Broken(ScriptedProvider):
    def _response(self, reply, request):
        return replace(super()._response(reply, request), content="else")

class TestIt(ProviderSuite):
    @pytest.fixture
    def provider(self):
        return Broken(*["text"] * 20)
""",
    "provider turns failure into an answer": """
class TestIt(ProviderSuite):
    @pytest.fixture
    def provider(self):
        return ScriptedProvider(*["text"] * 20)
    @pytest.fixture
    def failing(self):
        return ScriptedProvider(*["I encountered an error"] * 20)
""",
    "bus loses events of threads": """
class Broken(EventsDouble):
    def publish(self, topic, payload, context=None):
        import threading
        if threading.current_thread() is not threading.main_thread() and payload[1] == 7:
            return Event(topic, payload, 0.0, 0)
        return super().publish(topic, payload, context)
    async def receive(self, subscription, *, timeout_seconds=None):
        return await super().receive(subscription, timeout_seconds=min(timeout_seconds or 0, 1))

class TestIt(EventBusSuite):
    @pytest.fixture
    def bus(self):
        return Broken(listening=False)
""",
    "hooks run backwards": """
class Broken(HooksDouble):
    def register(self, point, hook, *, priority=0, name=""):
        return super().register(point, hook, priority=-priority, name=name)

class TestIt(HookExecutorSuite):
    @pytest.fixture
    def hooks(self):
        return Broken("BeforeToolExecution", "AfterToolExecution")
""",
    "tool answers what it should refuse": """
class Broken(Tool):
    schema = ToolSchema("t", "A tool", (Parameter("n", "number", "A number"),))
    async def run(self, parameters, context):
        return ToolResult(text="fine")

class TestIt(ToolSuite):
    @pytest.fixture
    def component(self):
        return Broken()
    @pytest.fixture
    def parameters(self):
        return {"n": 1}
    @pytest.fixture
    def refused(self):
        return [{"n": -1}]
""",
    "agent overrides the template": """
class Broken(Agent):
    metadata = ComponentMetadata("a", component_type="agent")
    conversation = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"})
    def clear_conversation(self): ...
    async def execute_impl(self, input, context): ...
    async def execute(self, input, context):
        return AgentOutput("y")

class TestIt(AgentSuite):
    @pytest.fixture
    def component(self):
        return Broken()
""",
    "workflow has another type": """
class Broken(Workflow):
    kind = "sequential"
    metadata = ComponentMetadata("w", component_type="agent")
    async def execute_impl(self, input, context):
        return AgentOutput("y")

class TestIt(WorkflowSuite):
    @pytest.fixture
    def component(self):
        return Broken()
""",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, set[str]]:
    """The tests that failed, by fault: one pytest run over all broken implementations."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "pytest.ini").write_text(INI)
    names = {f"test_fault_{number}": fault for number, fault in enumerate(FAULTS)}
    for name, fault in names.items():
        (folder / f"{name}.py").write_text(HEAD + FAULTS[fault])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--tb=line", "-rfE", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed: dict[str, set[str]] = {fault: set() for fault in FAULTS}
    for name, test in re.findall(r"^FAILED (\w+)\.py::TestIt::(\w+)", done.stdout, re.MULTILINE):
        failed[names[name]].add(test)
    assert "ERROR" not in done.stdout, done.stdout
    return failed


EXPECTED = {
    "backend forgets expectations": "test_a_failed_expectation_writes_nothing",
    "backend writes key by key": "test_a_cancelled_write_is_complete_or_absent",
    "backend loses concurrent updates": "test_concurrent_updates_lose_nothing",
    "backend sorts by bytes of UTF-16": "test_scan_is_in_the_order_of_code_points",
    "vector store filters after ranking": "test_k_hits_come_back_whenever_they_exist",
    "vector store forgets namespaces when deleting": "test_namespaces_never_see_each_other",
    "vector store finds no words": "test_words_are_found_best_first",
    "ledger takes a prefix for an id": "test_a_beginning_finds_a_run_when_it_is_unambiguous",
    "ledger keeps erased requests": "test_erasing_payloads_leaves_the_rows",
    "state shares its values": "test_a_stored_value_is_not_shared",
    "state forgets tenants": "test_tenants_never_see_each_other",
    "embedder does not normalise": "test_every_text_gets_a_normalised_vector",
    "chunker loses its last piece": "test_pieces_cover_the_text_and_stand_where_they_say",
    "chunker counts lines from 0": "test_a_small_text_is_one_piece",
    "provider says at the end something else": "test_a_stream_ends_with_the_whole_response",
    "provider turns failure into an answer": "test_a_refusal_is_an_error_and_never_an_answer",
    "bus loses events of threads": "test_threads_may_publish",
    "hooks run backwards": "test_smaller_priorities_run_first_and_equals_in_order",
    "tool answers what it should refuse": "test_what_it_must_refuse_fails",
    "agent overrides the template": "test_it_is_a_span_of_the_run",
    "workflow has another type": "test_it_has_a_kind",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_notices(outcomes: dict[str, set[str]], fault: str) -> None:
    assert EXPECTED[fault] in outcomes[fault], sorted(outcomes[fault])
