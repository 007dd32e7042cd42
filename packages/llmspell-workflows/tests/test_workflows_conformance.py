import pytest

from llmspell_testing import WorkflowSuite, make_context, make_services
from llmspell_workflows import (
    ConditionalWorkflow,
    LoopWorkflow,
    ParallelWorkflow,
    Range,
    SequentialWorkflow,
    Step,
)


def steps():
    return [Step.custom("a", lambda parameters, context: context.get("text"))]


class AnyWorkflow(WorkflowSuite):
    @pytest.fixture
    def services(self):
        return {}

    async def test_it_can_run_again(self, component, services, asked):
        # The summary tells how long it took, so that the texts differ: the data must not.
        context = make_context(make_services(**services))
        first = await component.execute(asked, context)
        second = await component.execute(asked, context)
        assert (first.data, first.finish_reason) == (second.data, second.finish_reason)
        assert first.metadata["extra"]["execution_id"] != second.metadata["extra"]["execution_id"]


class TestSequential(AnyWorkflow):
    @pytest.fixture
    def component(self):
        return SequentialWorkflow("w", steps())


class TestParallel(AnyWorkflow):
    @pytest.fixture
    def component(self):
        return ParallelWorkflow("w", steps())


class TestConditional(AnyWorkflow):
    @pytest.fixture
    def component(self):
        return ConditionalWorkflow("w", [ConditionalWorkflow.branch("b", "always", steps())])


class TestLoop(AnyWorkflow):
    @pytest.fixture
    def component(self):
        return LoopWorkflow("w", Range(1, 3), steps())
