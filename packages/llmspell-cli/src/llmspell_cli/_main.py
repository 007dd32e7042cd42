"""The program: arguments in, exit code out, every failure one clear message."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_cli._invocation import Invocation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line *arguments* (those of the process) and return the exit code.

    0 is success, 1 a failure, 2 wrong usage, 130 an interruption, otherwise what the script
    asked for with ``os.exit``. Results go to stdout, all else to stderr.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A short run is mostly importing, which makes many objects and no garbage.
    collecting = gc.isenabled()
    gc.disable()
    from llmspell_cli._invocation import Invocation

    invocation = Invocation(given)
    try:
        code = _run(invocation)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _nobody_reads()
    # Python looks for garbage once more when it ends, which nobody needs.
    gc.freeze()
    if collecting:
        gc.enable()
    return code


def _run(invocation: Invocation) -> int:
    try:
        from llmspell_cli._shortcut import shortcut

        call = shortcut(invocation)
        if call is not None:
            return call()
        from llmspell_cli._app import parse_and_run

        return parse_and_run(invocation)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        from llmspell_cli._failures import report

        return report(error, invocation)
    finally:
        invocation.close()


def _nobody_reads() -> int:
    """Whoever read stdout has gone: end quietly, and keep Python from flushing it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
