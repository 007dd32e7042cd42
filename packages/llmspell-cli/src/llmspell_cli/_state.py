"""``llmspell state``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from llmspell_cli._help import Command, Group
from llmspell_cli._invocation import Invocation
from llmspell_core import NotFoundError, ValidationError

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show, change, export and import what scripts keep in State.",
    epilog="""
    llmspell state show
    llmspell state set config '{"retries": 3}'
    llmspell state export backup.json
    llmspell state import backup.json --merge
    """,
)

_Scope = Annotated[
    str | None, typer.Option("--scope", help="global, workflow:ID, user:ID, … ", metavar="SCOPE")
]
_Json = Annotated[bool, typer.Option("--json", help="As JSON")]


@app.callback()
def state() -> None:
    """Show, change, export and import what scripts keep in State."""


def _as_json(invocation: Invocation, json: bool) -> bool:
    return json or invocation.output == "json"


def _shown(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@app.command("show", cls=Command)
def show(
    ctx: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="One key; all")] = None,
    option: Annotated[str | None, typer.Option("--key", hidden=True)] = None,
    scope: _Scope = None,
    json: _Json = False,
) -> None:
    """One value, or all keys with their values."""
    invocation: Invocation = ctx.obj
    wanted = key or option
    if wanted is not None:
        _show_one(invocation, wanted, scope, json)
        return
    scopes = invocation.call("state.list", scope=scope, values=True)["scopes"]
    table = {
        key if name == scope else f"{name}/{key}": value
        for name, values in scopes.items()
        for key, value in values.items()
    }
    if _as_json(invocation, json):
        invocation.say_json(dict(sorted(table.items())), indent=2)
    elif not table:
        invocation.say("No state keys found")
    else:
        lines = [f"  {name} = {_shown(value)}" for name, value in sorted(table.items())]
        invocation.say("\n".join([f"State keys ({len(table)} total):", *lines]))


@app.command("get", cls=Command)
def get(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="May name its scope: user:1:name")],
    scope: _Scope = None,
    json: _Json = False,
) -> None:
    """One value."""
    _show_one(ctx.obj, key, scope, json)


def _show_one(invocation: Invocation, key: str, scope: str | None, json: bool) -> None:
    found = invocation.call("state.get", key=key, scope=scope)
    if _as_json(invocation, json):
        invocation.say_json(found)
    else:
        invocation.say(f"Key: {found['key']}\nValue: {_shown(found['value'])}")


@app.command("set", cls=Command)
def set_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="May name its scope: user:1:name")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="JSON; anything else is text")],
    scope: _Scope = None,
    json: _Json = False,
) -> None:
    """Store a value; null deletes it."""
    from json import loads

    invocation: Invocation = ctx.obj
    try:
        parsed = loads(value)
    except ValueError:
        parsed = value
    done = invocation.call("state.set", key=key, value=parsed, scope=scope)
    if _as_json(invocation, json):
        invocation.say_json(done)
    else:
        invocation.say(f"✓ Set {done['scope']}:{done['key']}")


@app.command("delete", cls=Command)
def delete(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="May name its scope: user:1:name")],
    scope: _Scope = None,
    json: _Json = False,
) -> None:
    """Remove a value."""
    invocation: Invocation = ctx.obj
    done = invocation.call("state.delete", key=key, scope=scope)
    if not done["deleted"]:
        raise NotFoundError(f"Key '{key}' not found", code="STATE_KEY_NOT_FOUND")
    if _as_json(invocation, json):
        invocation.say_json(done)
    else:
        invocation.say(f"✓ Deleted {done['scope']}:{done['key']}")


@app.command("list", cls=Command)
def list_keys(ctx: typer.Context, scope: _Scope = None, json: _Json = False) -> None:
    """The keys, without their values."""
    invocation: Invocation = ctx.obj
    scopes: dict[str, list[str]] = invocation.call("state.list", scope=scope)["scopes"]
    if _as_json(invocation, json):
        invocation.say_json(scopes, indent=2)
        return
    lines = [f"{name}:{key}" for name, keys in sorted(scopes.items()) for key in keys]
    invocation.say("\n".join(lines) or "No state keys found")


@app.command("clear", cls=Command)
def clear(
    ctx: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="One key; all")] = None,
    option: Annotated[str | None, typer.Option("--key", hidden=True)] = None,
    scope: _Scope = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    json: _Json = False,
) -> None:
    """Remove a key, a scope, or everything; everything is asked about on a terminal."""
    invocation: Invocation = ctx.obj
    wanted = key or option
    everything = wanted is None and scope is None
    if everything and not yes and sys.stdin.isatty():
        typer.confirm("Remove all state of all scopes?", abort=True)
    done = invocation.call("state.clear", scope=scope, key=wanted)
    what = wanted or (scope and f"scope {scope}") or "all state"
    message = f"Cleared {what} ({done['cleared']} {'key' if done['cleared'] == 1 else 'keys'})"
    if _as_json(invocation, json):
        invocation.say_json({"status": "success", "message": message, **done})
    else:
        invocation.say(f"✓ {message}")


@app.command("export", cls=Command)
def export(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to; - is stdout")] = "-",
    format_: Annotated[str, typer.Option("--format", help="json or toml")] = "json",
    scope: _Scope = None,
) -> None:
    """Write all values into a file."""
    invocation: Invocation = ctx.obj
    if format_ not in ("json", "toml"):
        raise ValidationError(f"unknown format '{format_}'", hint="Write json or toml.")
    document = invocation.call("state.export", scope=scope)
    text = _rendered(document, format_)
    if file == "-":
        invocation.say(text.rstrip("\n"))
        return
    target = Path(file)
    unfinished = target.with_name(target.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(target)
    if invocation.output == "json":
        invocation.say_json({"status": "exported", "path": file})
    else:
        invocation.say(f"✓ Exported state to {file}")


def _rendered(document: dict[str, Any], format_: str) -> str:
    import json

    if format_ == "json":
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    from llmspell_config import to_toml

    for scope, values in document["scopes"].items():
        for key, value in values.items():
            if _holds_null(value):
                raise ValidationError(
                    f"'{scope}:{key}' holds null, which TOML cannot hold",
                    hint="Export as JSON: --format json",
                )
    return to_toml(document)


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_null, cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return any(map(_holds_null, cast("list[Any]", value)))
    return value is None


@app.command("import", cls=Command)
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where from; - is stdin")] = "-",
    merge: Annotated[
        bool, typer.Option("--merge", help="Keep the keys that the file does not have")
    ] = False,
    scope: _Scope = None,
) -> None:
    """Store the values of a file; without --merge its scopes hold nothing else then."""
    invocation: Invocation = ctx.obj
    document = _read(file)
    done = invocation.call("state.import", document=document, merge=merge, scope=scope)
    if invocation.output == "json":
        invocation.say_json({"status": "imported", "path": file, **done})
    else:
        invocation.say(f"✓ Imported state from {file} ({done['imported']} values)")


def _read(file: str) -> Any:
    import json
    import tomllib

    if file == "-":
        text = sys.stdin.read()
    elif not Path(file).is_file():
        raise NotFoundError(f"Import file does not exist: {file}")
    else:
        text = Path(file).read_text(encoding="utf-8")
    try:
        return tomllib.loads(text) if file.endswith(".toml") else json.loads(text)
    except ValueError as error:
        kind = "TOML" if file.endswith(".toml") else "JSON"
        raise ValidationError(f"{file} is not valid {kind}: {error}") from error
