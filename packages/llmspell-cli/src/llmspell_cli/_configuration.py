"""``llmspell config``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from llmspell_cli._help import Command, Group
from llmspell_cli._invocation import Invocation
from llmspell_cli._logging import set_up_logging
from llmspell_core import ConfigurationError, nearest

if TYPE_CHECKING:
    from llmspell_config import Problem, Reading

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show and check the configuration.",
    epilog="""
    llmspell config show
    llmspell config show runtime.security --format json
    llmspell config validate
    llmspell config test --providers
    llmspell config paths
    llmspell config schema > llmspell.schema.json
    """,
)


@app.callback()
def config() -> None:
    """Show and check the configuration."""


def _reading(invocation: Invocation, path: str | None = None) -> Reading:
    from llmspell_config import read

    set_up_logging(invocation.trace)
    return read(
        path or invocation.config_path,
        profile=invocation.profile,
        use_files=invocation.use_files,
        plugins=invocation.plugins,
    )


@app.command("show", cls=Command)
def show(
    ctx: typer.Context,
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION]", help="A table or a dotted path")
    ] = None,
    section_option: Annotated[
        str | None, typer.Option("--section", help="The same", metavar="SECTION")
    ] = None,
    format: Annotated[
        Literal["toml", "json"] | None, typer.Option("--format", help="toml, unless --output json")
    ] = None,
    reveal_secrets: Annotated[
        bool, typer.Option("--reveal-secrets", help="Show keys and passwords")
    ] = False,
) -> None:
    """The configuration in force, and where each value comes from."""
    from llmspell_config import redacted, to_toml

    invocation: Invocation = ctx.obj
    reading = _reading(invocation)
    reading.raise_first()
    values = reading.in_force()
    if not reveal_secrets:
        values = cast("dict[str, Any]", redacted(values))
    wanted = section or section_option
    path = tuple(wanted.split(".")) if wanted else ()
    found = _at(values, path)
    if format == "json" or (format is None and invocation.output == "json"):
        invocation.say_json(found, indent=2)
        return
    invocation.say(f"# Configuration section: {wanted}" if wanted else "# Full configuration:")
    if isinstance(found, dict):
        table = cast("dict[str, Any]", found)
        invocation.say(to_toml(table, above=path, remark=reading.origin).rstrip("\n"))
    elif path:
        document = to_toml({path[-1]: found}, above=path[:-1], remark=reading.origin)
        invocation.say(document.rstrip("\n"))


def _at(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = values
    for depth, part in enumerate(path):
        if not isinstance(found, dict) or part not in found:
            known = list(cast("dict[str, Any]", found)) if isinstance(found, dict) else []
            close = nearest(part, known)
            whole = ".".join([*path[:depth], close]) if close else ""
            raise ConfigurationError(
                f"Unknown config section '{'.'.join(path)}'",
                hint=f"Did you mean '{whole}'?" if close else f"There are: {', '.join(known)}",
            )
        found = cast("dict[str, Any]", found)[part]
    return found


@app.command("validate", cls=Command)
def validate(
    ctx: typer.Context,
    file: Annotated[
        str | None, typer.Option("-f", "--file", help="The file to check", metavar="PATH")
    ] = None,
) -> None:
    """Check the configuration; unknown keys are errors here."""
    invocation: Invocation = ctx.obj
    reading = _reading(invocation, file)
    errors = [problem.text for problem in reading.errors]
    warnings = [*(problem.text for problem in reading.warnings), *_lacking(reading)]
    if invocation.output == "json":
        invocation.say_json(
            {"valid": not errors, "path": reading.file, "warnings": warnings, "errors": errors}
        )
        if errors:
            raise typer.Exit(1)
        return
    lines = [
        "Configuration validation:",
        f"  File: {reading.file or '(no config file found - using defaults)'}",
        f"  Status: {'✗ Invalid' if errors else '✓ Valid'}",
        *_listed("Warnings", warnings),
    ]
    invocation.say("\n".join(lines))
    if errors:
        raise ConfigurationErrors(reading.errors)


def _listed(title: str, texts: list[str]) -> list[str]:
    return [f"  {title}:", *(f"    - {text}" for text in texts)] if texts else []


class ConfigurationErrors(ConfigurationError):
    """All that is wrong with a configuration."""

    prefix = ""

    def __init__(self, errors: list[Problem]) -> None:
        listed = "\n".join(f"  - {problem.text}" for problem in errors)
        super().__init__(f"Configuration validation failed\n{listed}")


def _lacking(reading: Reading) -> list[str]:
    found: list[str] = []
    providers = cast("dict[str, Any]", reading.config.get("providers", {}))
    if not any(isinstance(table, dict) for table in providers.values()):
        found.append("No providers configured")
    if reading.config.get("runtime.security.allow_network_access") is False:
        found.append(
            "Network access is disabled - LLM providers won't work through the script's own "
            "library; configured providers are not affected"
        )
    return found


@app.command("test", cls=Command)
def try_out(
    ctx: typer.Context,
    providers: Annotated[
        bool, typer.Option("--providers", help="Ask each enabled provider whether it answers")
    ] = False,
) -> None:
    """Check the configuration, and that what it names can be used.

    Exits with 1 if something cannot.
    """
    invocation: Invocation = ctx.obj
    reading = _reading(invocation)
    where = reading.file or "no file, all settings have their defaults"
    checks: list[tuple[str, str | None]] = [
        ("configuration", problem.text) for problem in reading.errors
    ]
    checks = checks or [("configuration", None)]
    notes = {"configuration": where}
    if not reading.errors:
        for name, path in _directories(reading):
            notes[name] = path
            checks.append((name, _unusable(path)))
        if providers:
            rows: list[dict[str, Any]] = invocation.call("provider.test")
            checks += [(f"provider {row['name']}", row["error"]) for row in rows]
    failed = any(problem for _, problem in checks)
    if invocation.output == "json":
        shown = [
            {"check": name, "ok": problem is None, "error": problem} for name, problem in checks
        ]
        invocation.say_json({"ok": not failed, "checks": shown}, indent=2)
    else:
        for name, problem in checks:
            about = f": {problem}" if problem else f": {notes[name]}" if name in notes else ""
            invocation.say(f"{'✗' if problem else '✓'} {name}{about}")
    if failed:
        raise typer.Exit(1)


def _directories(reading: Reading) -> list[tuple[str, str]]:
    config = reading.config
    named = cast("list[Any]", config.get("tools.file_operations.allowed_paths") or [])
    return [
        ("data directory", config.home),
        *((f"allowed path {path}", str(path)) for path in named if "*" not in str(path)),
    ]


def _unusable(path: str) -> str | None:
    """Why nothing can be kept in a directory; None when it can, or when it can be made."""
    import os

    whole = os.path.abspath(os.path.expanduser(path))
    there = whole
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        return f"{there} is not a directory"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"


@app.command("schema", cls=Command)
def schema(ctx: typer.Context) -> None:
    """The JSON Schema of llmspell.toml, for editors that complete and check."""
    from llmspell_config import json_schema, settings_class

    invocation: Invocation = ctx.obj
    invocation.say_json(json_schema(settings_class(invocation.plugins)), indent=2)


@app.command("paths", cls=Command)
def paths(ctx: typer.Context) -> None:
    """Every place that is searched for a file, and which one is used."""
    import os

    from llmspell_config import search_places

    invocation: Invocation = ctx.obj
    places = search_places(invocation.config_path, use_files=invocation.use_files)
    used = next((place for place in places if place.exists), None)
    if invocation.output == "json":
        invocation.say_json(
            [
                {
                    "path": os.path.abspath(place.path),
                    "source": place.source,
                    "exists": place.exists,
                    "used": place is used,
                }
                for place in places
            ],
            indent=2,
        )
        return
    for place in places:
        mark = "✓ used  " if place is used else "  exists" if place.exists else "        "
        invocation.say(f"{mark}  {place.path}")
    if used is None:
        invocation.say("No file found: all settings have their defaults.")


@app.command("path", cls=Command, hidden=True)
def path(ctx: typer.Context) -> None:
    """As paths."""
    paths(ctx)


@app.command("profiles", cls=Command)
def profiles(ctx: typer.Context) -> None:
    """The profiles of the file."""
    invocation: Invocation = ctx.obj
    reading = _reading(invocation)
    tables = cast("dict[str, Any]", reading.config.get("profiles", {}))
    names = sorted({"default", *tables})
    if invocation.output == "json":
        invocation.say_json(names)
        return
    for name in names:
        base = cast("dict[str, Any]", tables.get(name, {})).get("extends")
        invocation.say(f"{name} (extends {base})" if base else name)
