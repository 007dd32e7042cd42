"""``llmspell provider`` and its short form ``llmspell providers``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmspell_cli._help import Command, Group
from llmspell_cli._invocation import Invocation
from llmspell_cli._tables import money, span, table

_EXAMPLES = """
    llmspell provider list
    llmspell provider models openai
    llmspell provider test
    llmspell provider test openai --chat gpt-4o-mini
    """

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List model providers, look at one, and see whether it answers.",
    epilog=_EXAMPLES,
)
providers = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="The providers in one table; the same commands as provider.",
    epilog=_EXAMPLES,
)

_Json = Annotated[bool, typer.Option("--json", help="As --output json")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A configured provider, or its type")]


@app.callback()
def provider() -> None:
    """List model providers, look at one, and see whether it answers."""


@providers.callback()
def providers_alone(ctx: typer.Context) -> None:
    """The providers in one table; the same commands as provider."""
    if ctx.invoked_subcommand is None:
        list_providers(ctx)


@app.command("list", cls=Command)
@providers.command("list", cls=Command)
def list_providers(
    ctx: typer.Context,
    types: Annotated[
        bool, typer.Option("--types", help="The provider types there are, instead")
    ] = False,
    json: _Json = False,
) -> None:
    """The configured and discovered providers; makes no connection."""
    invocation: Invocation = ctx.obj
    if types:
        _list_types(invocation, json)
        return
    found: list[dict[str, Any]] = invocation.call("provider.list")
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    if not found:
        invocation.say(
            "No providers. Set a key like OPENAI_API_KEY, or add a table [providers.NAME]; "
            "types: llmspell provider list --types"
        )
        return
    rows = [
        (
            row["name"],
            row["type"],
            "yes" if row["enabled"] else "no",
            row["default_model"] or "-",
            _KEYS[row["key"]],
            _state(row),
        )
        for row in found
    ]
    invocation.say(table(("NAME", "TYPE", "ENABLED", "MODEL", "KEY", ""), rows))


_KEYS = {"present": "yes", "missing": "no", "not needed": "not needed"}


def _state(row: dict[str, Any]) -> str:
    if not row["available"]:
        return "✗ cannot be used"
    return "" if row["circuit"] == "closed" else f"⚠️ {row['circuit']}"


def _list_types(invocation: Invocation, json: bool) -> None:
    found: list[dict[str, Any]] = invocation.call("provider.types")
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    rows = [(row["type"], row["key_variable"] or "-", row["description"]) for row in found]
    invocation.say(table(("TYPE", "KEY", "WHAT IT IS"), rows))


@app.command("info", cls=Command)
@providers.command("info", cls=Command)
def info(ctx: typer.Context, name: _Name, json: _Json = False) -> None:
    """One provider: address, key, limits and waits; makes no connection."""
    invocation: Invocation = ctx.obj
    found: dict[str, Any] = invocation.call("provider.info", name=name)
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    rows = [(f"{label:<14}", text) for label, text in _facts(found) if text]
    invocation.say("\n".join(f"{label} {text}" for label, text in rows))


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    limit, breaker, retries = found["rate_limit"], found["circuit_breaker"], found["retries"]
    variable = f" ({found['key_variable']})" if found["key_variable"] else ""
    waits = ", ".join(f"{key} {seconds:g}s" for key, seconds in found["timeouts"].items())
    limits = [
        f"{limit[key]} {words}"
        for key, words in (
            ("requests_per_minute", "requests a minute"),
            ("tokens_per_minute", "tokens a minute"),
            ("max_concurrent_requests", "at a time"),
        )
        if limit[key] is not None
    ]
    return [
        ("Name", found["name"]),
        ("Type", found["type"]),
        ("Enabled", "yes" if found["enabled"] else "no"),
        ("Address", found["base_url"] or ""),
        ("Key", found["key"] + variable),
        ("Default model", found["default_model"] or ""),
        ("Price", _price_text(found["price"])),
        ("Context", f"{found['max_context_tokens']} tokens" if found["max_context_tokens"] else ""),
        ("Features", ", ".join(found["features"])),
        ("Models", ", ".join(found["models"])),
        ("Time-out", f"{found['timeout_seconds']:g}s{f', {waits}' if waits else ''}"),
        ("Retries", str(retries["max_retries"])),
        ("Rate limit", ", ".join(limits) or "none configured"),
        ("Circuit", breaker["state"] if breaker else "switched off"),
        ("Fallback", ", ".join(found["fallback"])),
    ]


def _price_text(price: dict[str, float] | None) -> str:
    if price is None:
        return "unknown"
    return f"${price['input']:g} in, ${price['output']:g} out for a million tokens"


@app.command("models", cls=Command)
@providers.command("models", cls=Command)
def models(ctx: typer.Context, name: _Name, json: _Json = False) -> None:
    """The models a provider offers, as it says itself, with their prices where known."""
    invocation: Invocation = ctx.obj
    found: list[dict[str, Any]] = invocation.call("provider.models", name=name)
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    if not found:
        invocation.say(f"{name} offers no models")
        return
    rows = [
        (
            row["id"],
            str(row["context_tokens"] or "-"),
            f"${row['price']['input']:g}" if row["price"] else "unknown",
            f"${row['price']['output']:g}" if row["price"] else "unknown",
        )
        for row in found
    ]
    invocation.say(table(("MODEL", "CONTEXT", "IN/1M", "OUT/1M"), rows))


@app.command("test", cls=Command)
@providers.command("test", cls=Command)
def try_out(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One provider; all that are enabled")
    ] = None,
    chat: Annotated[
        str | None,
        typer.Option("--chat", help="Pay for one tiny answer of this model", metavar="MODEL"),
    ] = None,
    json: _Json = False,
) -> int:
    """See whether providers can be reached and accept their keys.

    Asks for the list of models, which costs nothing. Exits with 1 if one fails.
    """
    invocation: Invocation = ctx.obj
    found: list[dict[str, Any]] = invocation.call("provider.test", name=name, chat=chat)
    failed = any(not row["ok"] for row in found)
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return 1 if failed else 0
    if not found:
        invocation.say("No providers are enabled.")
        return 0
    for row in found:
        invocation.say(_verdict(row))
        if row["hint"]:
            invocation.note(f"Hint: {row['hint']}")
    return 1 if failed else 0


def _verdict(row: dict[str, Any]) -> str:
    if not row["ok"]:
        return f"✗ {row['name']}: {row['error']}"
    took = span(row["duration_ms"])
    if "answer" not in row:
        return f"✓ {row['name']} ({took})"
    cost = "price unknown" if row["cost"] is None else money(row["cost"])
    tokens = f"{row['tokens']} tokens, " if row["tokens"] is not None else ""
    return f"✓ {row['name']} ({took}): {row['model']} says {row['answer']!r} ({tokens}{cost})"
