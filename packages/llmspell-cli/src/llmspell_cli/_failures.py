"""What a failure looks like on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from llmspell_core import ExecutionCancelled, LLMSpellError, LLMTimeoutError, ScriptError

if TYPE_CHECKING:
    from llmspell_cli._invocation import Invocation

INTERRUPTED = 130


def report(error: BaseException, invocation: Invocation) -> int:
    """Tell the user of *error* and return the exit code."""
    code = getattr(error, "exit_code", None)
    shown: Any = getattr(error, "format_message", None)
    if shown is not None:
        return _usage(error, str(shown()))
    if isinstance(error, ExecutionCancelled):
        _say(f"Interrupted: {error.reason}")
        return code if isinstance(code, int) else INTERRUPTED
    if isinstance(code, int):
        return code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    message = describe(error)
    _say(f"Error: {message}")
    _details(error, message)
    if _debugging(invocation):
        _traces(error)
    if invocation.output == "json":
        invocation.say_json({"status": "error", "error": message})
    return 1


def describe(error: BaseException) -> str:
    """The message of *error* in one line or few."""
    if isinstance(error, ScriptError):
        return f"Script execution failed: {error.message}"
    if isinstance(error, LLMTimeoutError) and error.operation == "execution":
        seconds = (error.duration_ms or 0) / 1000
        return f"Script execution timed out after {seconds:g} seconds"
    if isinstance(error, LLMSpellError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"Internal error: {type(error).__name__}: {error}"


def _details(error: BaseException, message: str) -> None:
    if isinstance(error, OSError):
        return
    if not isinstance(error, LLMSpellError):
        _say("Hint: this is a defect of ours; `--trace debug` shows where it happened.")
        return
    cause = error.source
    if cause is not None and str(cause) and str(cause) not in message:
        _say(f"Caused by: {type(cause).__name__}: {cause}")
    if error.hint:
        _say(f"Hint: {error.hint}")


def _debugging(invocation: Invocation) -> bool:
    return (invocation.trace or "").lower() in {"debug", "trace"}


def _traces(error: BaseException) -> None:
    if isinstance(error, ScriptError) and error.traceback:
        _say(error.traceback.rstrip("\n"))
    cause = error.source if isinstance(error, LLMSpellError) else error
    if cause is not None and not isinstance(cause, LLMSpellError):
        import traceback

        _say("".join(traceback.format_exception(cause)).rstrip("\n"))


def _usage(error: BaseException, message: str) -> int:
    context: Any = getattr(error, "ctx", None)
    if message.startswith("Usage:"):
        # A group without its sub-command: the message is the help.
        _say(message)
        return 2
    _say(f"error: {message[:1].lower()}{message[1:]}")
    if context is not None:
        _say(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.")
    return 2


def _say(text: str) -> None:
    from llmspell_cli._invocation import write

    write(sys.stderr, text + "\n")
