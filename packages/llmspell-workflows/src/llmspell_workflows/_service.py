"""The workflows that live in one set of services."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell_core import NotFoundError, ValidationError, WorkflowRegistry, nearest
from llmspell_workflows._functions import Function, is_function
from llmspell_workflows._workflow import ComposedWorkflow

if TYPE_CHECKING:
    from llmspell_core import Services

PREFIX = "workflow_"


class WorkflowService(WorkflowRegistry):
    """Workflows by id (with or without ``workflow_``) and by name, and functions for steps.

    Several workflows may have one name; the name then means the newest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workflows: dict[str, ComposedWorkflow] = {}
        self._functions: dict[str, Function] = {}

    def add(self, workflow: ComposedWorkflow) -> str:
        """Make it known; returns its id."""
        with self._lock:
            self._workflows[workflow.id] = workflow
        return workflow.id

    def get(self, name: str) -> ComposedWorkflow | None:
        with self._lock:
            found = self._workflows.get(name) or self._workflows.get(PREFIX + name)
            if found is not None:
                return found
            return next((w for w in reversed(self._workflows.values()) if w.name == name), None)

    def find(self, name: str) -> ComposedWorkflow:
        """As `get`.

        Raises:
            NotFoundError: ``Workflow not found: <name>``.
        """
        found = self.get(name)
        if found is None:
            close = nearest(name, [workflow.name for workflow in self.list()])
            raise NotFoundError(
                f"Workflow not found: {name}",
                hint=f"Did you mean '{close}'?" if close else None,
            )
        return found

    def list(self) -> Sequence[ComposedWorkflow]:
        with self._lock:
            return sorted(self._workflows.values(), key=lambda workflow: workflow.name)

    def remove(self, name: str) -> bool:
        """Forget it; whether it was known. What it is doing goes on."""
        found = self.get(name)
        if found is None:
            return False
        with self._lock:
            return self._workflows.pop(found.id, None) is not None

    def clear(self) -> int:
        """Forget all; how many."""
        with self._lock:
            count = len(self._workflows)
            self._workflows.clear()
            return count

    def register_function(self, name: str, function: Function) -> None:
        """Let steps call *function* by name (``function = "name"``).

        Raises:
            ValidationError: for an empty name or something that cannot be called.
        """
        if not name or not is_function(function):
            raise ValidationError("a step function needs a name and must be callable", field="name")
        self._functions[name] = function

    def function(self, name: str) -> Function | None:
        """The function registered under *name*, or None."""
        return self._functions.get(name)


def workflow_service(services: Services) -> WorkflowService:
    """The factory of the service ``workflows``."""
    return WorkflowService()
