"""What functions of a workflow are called with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import Live, attribute, exposed, script_object
from llmspell_workflows._interpolation import MISSING, Reference, dig, parse_reference

if TYPE_CHECKING:
    from llmspell_workflows._frames import Frame


@script_object("StepContext")
class StepView:
    """The run as seen from one step, which functions of a workflow are called with.

    Read the fields, change `state`; `get` and `set` reach the shared data.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @attribute
    def name(self) -> str:
        """The step's name."""
        return self._frame.step

    @attribute
    def step_name(self) -> str:
        """The step's name."""
        return self._frame.step

    @attribute
    def input(self) -> Any:
        """The workflow's input."""
        return self._frame.run.input

    @attribute
    def variables(self) -> dict[str, Any]:
        """The workflow's declared variables."""
        return dict(self._frame.run.options.variables)

    @attribute
    def state(self) -> Live:
        """A table that lives as long as the run; change it in place."""
        return self._frame.run.state

    @attribute
    def shared(self) -> Live:
        """The run's shared data."""
        return self._frame.run.shared

    @attribute
    def outputs(self) -> dict[str, Any]:
        """Step → output, of the steps so far."""
        return {name: result.output for name, result in self._frame.visible().items()}

    @attribute
    def steps(self) -> dict[str, Any]:
        """Step → its record (``output``, ``success``, …)."""
        return {name: result.to_fields() for name, result in self._frame.visible().items()}

    @attribute
    def previous(self) -> Any:
        """The output of the step before."""
        return self._frame.previous

    @attribute
    def workflow_id(self) -> str:
        """The workflow's id."""
        return self._frame.run.workflow_id

    @attribute
    def execution_id(self) -> str:
        """The run's id."""
        return self._frame.run.execution_id

    @attribute
    def workflow_name(self) -> str:
        """The workflow's name."""
        return self._frame.run.name

    @attribute
    def branch(self) -> str | None:
        """The branch, inside of one."""
        return self._frame.branch

    @attribute
    def current_value(self) -> Any:
        """In a loop: the value of this iteration."""
        return self._frame.loop.get("loop_value")

    @attribute
    def current_item(self) -> Any:
        """The same as `current_value`."""
        return self._frame.loop.get("loop_value")

    @attribute
    def loop_value(self) -> Any:
        """The same as `current_value`."""
        return self._frame.loop.get("loop_value")

    @attribute
    def index(self) -> int | None:
        """In a loop: the iteration, from 1."""
        return self._frame.loop.get("iteration")

    @attribute
    def iteration(self) -> int | None:
        """The same as `index`."""
        return self._frame.loop.get("iteration")

    @attribute
    def loop_index(self) -> int | None:
        """In a loop: the iteration, from 0."""
        return self._frame.loop.get("loop_index")

    @attribute
    def total_iterations(self) -> int | None:
        """In a loop: how many there will be, where that is known."""
        return self._frame.loop.get("total_iterations")

    @attribute
    def iteration_outputs(self) -> list[Any]:
        """In a loop: the outputs of the iterations so far, as far as they are kept."""
        return list(self._frame.iterations)

    @exposed()
    def get(self, key: str) -> Any:
        """What a name means here: shared data, input, step output, variable; nil if nothing.

        Args:
            key: A name, or a reference such as ``steps.fetch.output``.
        """
        reference = parse_reference(key) or Reference("name", (key,))
        if reference.root == "shared":
            found = dig(self._frame.run.shared, reference.path)
        elif reference.root in ("state",):
            found = dig(self._frame.run.state, reference.path)
        else:
            found = self._frame.peek(reference)
        return None if found is MISSING else found

    @exposed()
    def set(self, key: str, value: Any) -> None:
        """Set shared data: placeholders and conditions see it, and it is stored with the step.

        Args:
            key: The name.
            value: Anything JSON can hold.
        """
        self._frame.run.shared[key] = value
        self._frame.run.changed.add(key)
