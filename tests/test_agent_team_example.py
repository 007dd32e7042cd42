"""The example of a team does what it says."""

from __future__ import annotations

import pytest

from .conftest import PROJECT, User

pytestmark = pytest.mark.slow


def test_the_example_of_a_team_prints_who_did_what(user: User) -> None:
    done = user.run("run", str(PROJECT / "examples/script-users/features/agent_team.lua"))
    assert (done.code, done.err) == (0, ""), done
    assert done.out.splitlines()[:8] == [
        "article by 3 agents",
        "  oceans   done",
        "  cities   done",
        "  editor   done",
        "answered by cities",
        "as a tool: true",
        "tokens so far: some",
        "health: healthy",
    ]
