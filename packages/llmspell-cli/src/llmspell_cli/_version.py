"""``llmspell version``."""

from __future__ import annotations

import os
import platform
import sys
from typing import Annotated, Any, Literal

import typer

from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation

_COMPONENTS = {"cli": "llmspell-cli", "kernel": "llmspell-kernel", "bridge": "llmspell-bridge"}
_UNKNOWN = "unknown"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    "version",
    cls=Command,
    epilog="""
    llmspell version
    llmspell version --verbose
    llmspell --output json version
    """,
)
def version(
    ctx: typer.Context,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="What it was built from")
    ] = False,
    component: Annotated[
        Literal["cli", "kernel", "bridge", "all"],
        typer.Option("--component", help="Whose version"),
    ] = "all",
    short: Annotated[bool, typer.Option("--short", help="Only the number")] = False,
    client: Annotated[bool, typer.Option("--client", help="As Client Version")] = False,
) -> None:
    """Show the version and what it was built from."""
    invocation: Invocation = ctx.obj
    number = version_of(_COMPONENTS.get(component, "llmspell-cli"))
    if invocation.output == "json":
        invocation.say_json(_client(number) if client else _facts(number))
    elif short:
        invocation.say(number)
    elif client:
        invocation.say(f"Client Version: {number}")
    elif verbose:
        invocation.say("\n".join(_verbose(number, component)))
    else:
        invocation.say(f"llmspell {number}")


def version_of(distribution: str) -> str:
    """The installed version of a distribution."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(distribution)
    except PackageNotFoundError:
        return _UNKNOWN


def short_version(*, detailed: bool) -> str:
    """``llmspell 0.1.0``; *detailed* adds the commit and its date."""
    text = f"llmspell {version_of('llmspell-cli')}"
    if not detailed:
        return text
    git = _git()
    modified = "-modified" if git["dirty"] is True else ""
    return f"{text} ({git['commit_short']}{modified} {str(git['commit_date'])[:10]})"


def _git() -> dict[str, Any]:
    """The commit this code is of, when it runs from a checkout of the project."""
    facts: dict[str, Any] = dict.fromkeys(
        ("commit", "commit_short", "branch", "commit_date", "dirty"), _UNKNOWN
    )
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    package = os.path.join(root, "packages", "llmspell-cli", "src", "llmspell_cli")
    if package != here or not os.path.exists(os.path.join(root, ".git")):
        return facts
    shown = _ask_git(root, "show", "--no-patch", "--format=%H%n%h%n%cI", "HEAD")
    if shown is None:
        return facts
    facts["commit"], facts["commit_short"], facts["commit_date"] = shown.split("\n")[:3]
    facts["branch"] = _ask_git(root, "rev-parse", "--abbrev-ref", "HEAD") or _UNKNOWN
    changed = _ask_git(root, "status", "--porcelain", "--untracked-files=no")
    facts["dirty"] = _UNKNOWN if changed is None else changed != ""
    return facts


def _ask_git(root: str, *arguments: str) -> str | None:
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["git", "-C", root, *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _facts(number: str) -> dict[str, Any]:
    return {
        "version": number,
        "git": _git(),
        "build": {
            "timestamp": _UNKNOWN,
            "profile": "release",
            "host": platform.node() or _UNKNOWN,
            "target": f"{sys.platform}-{platform.machine()}",
            "python": platform.python_version(),
            "rustc": _UNKNOWN,
            "features": _features(),
        },
    }


def _features() -> list[str]:
    """The installed script engines."""
    from llmspell_core import PluginIndex

    return PluginIndex().names("llmspell.engines")


def _client(number: str) -> dict[str, Any]:
    git = _git()
    return {
        "clientVersion": {
            "version": number,
            "gitCommit": git["commit"],
            "gitTreeState": "dirty" if git["dirty"] is True else "clean",
            "buildDate": _UNKNOWN,
            "platform": f"{sys.platform}/{platform.machine()}",
        }
    }


def _verbose(number: str, component: str) -> list[str]:
    facts = _facts(number)
    git, build = facts["git"], facts["build"]
    tree = {True: "modified", False: "clean"}.get(git["dirty"], _UNKNOWN)
    lines = [
        f"llmspell {number}",
        "binary: llmspell",
        f"commit-hash: {git['commit']}",
        f"commit-date: {git['commit_date']}",
        f"branch: {git['branch']}",
        f"working-tree: {tree}",
        f"build-timestamp: {build['timestamp']}",
        f"build-profile: {build['profile']}",
        f"host: {build['host']}",
        f"target: {build['target']}",
        f"python: {build['python']}",
        f"features: {', '.join(build['features']) or '-'}",
    ]
    if component == "all":
        lines.append("components:")
        lines += [f"  {name}: {version_of(owner)}" for name, owner in _COMPONENTS.items()]
    return lines
