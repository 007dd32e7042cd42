"""The built-in commands in one line each, so that help imports none of them."""

from __future__ import annotations

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "api": "Show what scripts can use: globals, members, signatures.",
    "chat": "Talk to a model: streaming, with tools, and with the cost in sight.",
    "config": "Show and check the configuration.",
    "exec": "Execute a line of code.",
    "plugins": "List what is installed at every extension point.",
    "provider": "List model providers, look at one, and see whether it answers.",
    "providers": "The providers in one table; the same commands as provider.",
    "replay": "Run a recorded run again from its recording, offline.",
    "resume": "Go on with a recorded run that failed or was killed.",
    "run": "Execute a script file.",
    "runs": "List, show, prune and erase recorded runs.",
    "state": "Show, change, export and import what scripts keep in State.",
    "storage": "Look into stores, and move them between back ends.",
    "test": "Run the tests of scripts.",
    "version": "Show the version and what it was built from.",
}
"""By name; a test compares them with the first lines of the commands themselves."""
