"""LLMSpell workflows: sequential, parallel, conditional and loop."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_workflows._builder import WorkflowBuilder as WorkflowBuilder
    from llmspell_workflows._conditions import Condition as Condition
    from llmspell_workflows._conditions import condition_from as condition_from
    from llmspell_workflows._definitions import ErrorStrategy as ErrorStrategy
    from llmspell_workflows._definitions import Options as Options
    from llmspell_workflows._definitions import Plan as Plan
    from llmspell_workflows._definitions import Step as Step
    from llmspell_workflows._loop import Aggregation as Aggregation
    from llmspell_workflows._loop import Break as Break
    from llmspell_workflows._loop import Collection as Collection
    from llmspell_workflows._loop import LoopPlan as LoopPlan
    from llmspell_workflows._loop import Range as Range
    from llmspell_workflows._loop import While as While
    from llmspell_workflows._parallel import BranchResult as BranchResult
    from llmspell_workflows._parallel import ParallelBranch as ParallelBranch
    from llmspell_workflows._parallel import ParallelPlan as ParallelPlan
    from llmspell_workflows._parsing import workflow_from as workflow_from
    from llmspell_workflows._results import StepResult as StepResult
    from llmspell_workflows._results import WorkflowFailed as WorkflowFailed
    from llmspell_workflows._results import WorkflowOutput as WorkflowOutput
    from llmspell_workflows._results import WorkflowResult as WorkflowResult
    from llmspell_workflows._serial import ConditionalBranch as ConditionalBranch
    from llmspell_workflows._serial import ConditionalPlan as ConditionalPlan
    from llmspell_workflows._serial import SequentialPlan as SequentialPlan
    from llmspell_workflows._service import WorkflowService as WorkflowService
    from llmspell_workflows._view import StepView as StepView
    from llmspell_workflows._workflow import ComposedWorkflow as ComposedWorkflow
    from llmspell_workflows._workflow import ConditionalWorkflow as ConditionalWorkflow
    from llmspell_workflows._workflow import LoopWorkflow as LoopWorkflow
    from llmspell_workflows._workflow import ParallelWorkflow as ParallelWorkflow
    from llmspell_workflows._workflow import SequentialWorkflow as SequentialWorkflow

_HOMES = {
    "Aggregation": "_loop",
    "BranchResult": "_parallel",
    "Break": "_loop",
    "Collection": "_loop",
    "ComposedWorkflow": "_workflow",
    "Condition": "_conditions",
    "ConditionalBranch": "_serial",
    "ConditionalPlan": "_serial",
    "ConditionalWorkflow": "_workflow",
    "ErrorStrategy": "_definitions",
    "LoopPlan": "_loop",
    "LoopWorkflow": "_workflow",
    "Options": "_definitions",
    "ParallelBranch": "_parallel",
    "ParallelPlan": "_parallel",
    "ParallelWorkflow": "_workflow",
    "Plan": "_definitions",
    "Range": "_loop",
    "SequentialPlan": "_serial",
    "SequentialWorkflow": "_workflow",
    "Step": "_definitions",
    "StepResult": "_results",
    "StepView": "_view",
    "While": "_loop",
    "WorkflowBuilder": "_builder",
    "WorkflowFailed": "_results",
    "WorkflowOutput": "_results",
    "WorkflowResult": "_results",
    "WorkflowService": "_service",
    "condition_from": "_conditions",
    "workflow_from": "_parsing",
}

__all__ = [
    "Aggregation",
    "BranchResult",
    "Break",
    "Collection",
    "ComposedWorkflow",
    "Condition",
    "ConditionalBranch",
    "ConditionalPlan",
    "ConditionalWorkflow",
    "ErrorStrategy",
    "LoopPlan",
    "LoopWorkflow",
    "Options",
    "ParallelBranch",
    "ParallelPlan",
    "ParallelWorkflow",
    "Plan",
    "Range",
    "SequentialPlan",
    "SequentialWorkflow",
    "Step",
    "StepResult",
    "StepView",
    "While",
    "WorkflowBuilder",
    "WorkflowFailed",
    "WorkflowOutput",
    "WorkflowResult",
    "WorkflowService",
    "condition_from",
    "workflow_from",
]

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
