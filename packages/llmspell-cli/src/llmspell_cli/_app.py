"""The command line: global options, and commands that are imported when they are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from typer.main import get_command

from llmspell_cli._catalogue import SUMMARIES
from llmspell_cli._help import Group
from llmspell_cli._light import lighten
from llmspell_core import ConfigurationError, PluginError, nearest

if TYPE_CHECKING:
    from llmspell_cli._invocation import Invocation

GROUP = "llmspell.commands"

_EXAMPLES = """
llmspell run report.lua -- --input notes.md
llmspell chat openai/gpt-4o-mini --tool calculator
llmspell exec 'return Tool.invoke("calculator", {input = "6 * 7"}).value'
llmspell run --record report.lua
llmspell replay RUN
llmspell config show rag
"""


class Commands(Group):
    """The commands that plugins register; only the chosen one is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, sorted."""
        return _invocation(ctx).plugins.names(GROUP)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command; an unknown one is a usage error with the nearest name."""
        plugins = _invocation(ctx).plugins
        if plugins.find(GROUP, cmd_name) is None:
            close = nearest(cmd_name, self.list_commands(ctx))
            near = f" Did you mean '{close}'?" if close else ""
            ctx.fail(f"Unknown command '{cmd_name}'.{near}")
        return _as_command(cmd_name, plugins.load(GROUP, cmd_name), self.params)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List them; strangers are imported for their first line, built-ins are not."""
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _summary(self, ctx: Any, name: str) -> str:
        plugins = _invocation(ctx).plugins
        try:
            plugin = plugins.find(GROUP, name)
            if plugin is None or plugin.distribution == "llmspell-cli":
                return SUMMARIES.get(name, "")
            return _as_command(name, plugin.load(), []).get_short_help_str(70)
        except PluginError as error:
            return f"(broken: {error.message})"


def _invocation(ctx: Any) -> Invocation:
    return cast("Invocation", ctx.obj)


def _as_command(name: str, value: Any, options: list[Any]) -> Any:
    """A plugin's function or `typer.Typer` as a command that takes the global *options* too."""
    app = value
    if not isinstance(value, typer.Typer):
        if not callable(value):
            raise ConfigurationError(f"command '{name}' is neither a function nor a typer.Typer")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(value)
    command = get_command(app)
    command.name = name
    lighten(command)
    _add_global_options(command, options)
    return command


def _add_global_options(command: Any, options: list[Any]) -> None:
    own = {spelled for option in command.params for spelled in option.opts}
    for option in options:
        # A command's own option of that name hides the global one.
        if option.name not in {"debug", "verbose"} and not own & set(option.opts):
            command.params.append(option)
    command.add_help_option = False
    for inner in getattr(command, "commands", {}).values():
        _add_global_options(inner, options)


# -- global options -------------------------------------------------------------------------------


def _take(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Put a global option where it belongs, wherever on the line it stood."""
    if value is None or value is False:
        return value
    invocation = _invocation(ctx)
    if param.name == "config":
        invocation.config_path = value
    elif param.name == "no_config":
        invocation.use_files = False
    elif param.name in {"debug", "verbose"}:
        invocation.trace = "debug" if param.name == "debug" else "info"
    elif param.name == "help":
        invocation.say(ctx.get_help())
        raise typer.Exit
    elif param.name == "version":
        from llmspell_cli._version import short_version

        invocation.say(short_version(detailed=invocation.arguments[:1] == ["-V"]))
        raise typer.Exit
    else:
        setattr(invocation, str(param.name), value)
    return value


def _option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(
        *names, help=help, callback=_take, expose_value=False, show_default=False, **more
    )


_Config = Annotated[
    str | None, _option("-c", "--config", help="Configuration file", metavar="PATH")
]
_Trace = Annotated[
    Literal["off", "error", "warn", "info", "debug", "trace"] | None,
    _option("--trace", help="Level of diagnostics on stderr", case_sensitive=False),
]
_Output = Annotated[
    Literal["text", "json", "pretty"] | None,
    _option("--output", help="Format of results on stdout", case_sensitive=False),
]
_Profile = Annotated[
    str | None,
    _option("--profile", help="Lay [profiles.NAME] over the configuration", metavar="NAME"),
]
_NoConfig = Annotated[bool, _option("--no-config", help="Ignore configuration files")]
_Version = Annotated[bool, _option("-V", "--version", help="Show the version", is_eager=True)]
_Help = Annotated[
    bool, _option("-h", "--help", help="Show this; --help with examples", is_eager=True)
]
_Debug = Annotated[bool, _option("--debug", help="As --trace debug", hidden=True)]
_Verbose = Annotated[bool, _option("--verbose", help="As --trace info", hidden=True)]


def _globals(
    config: _Config = None,
    trace: _Trace = None,
    output: _Output = None,
    profile: _Profile = None,
    no_config: _NoConfig = False,
    version: _Version = False,
    debug: _Debug = False,
    verbose: _Verbose = False,
    help: _Help = False,
) -> None:
    """LLMSpell provides scriptable LLM interactions: scripts that drive agents, tools,
    workflows and retrieval.
    """


def _root() -> typer.Typer:
    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        epilog=_EXAMPLES,
        add_help_option=False,
    )
    app.callback()(_globals)
    return app


def parse_and_run(invocation: Invocation) -> int:
    """Run the command that *invocation* names; returns 0 unless the command raises its code."""
    command: Any = lighten(get_command(_root()))
    # Typer's own main() turns a closed pipe into an error and knows no exit code 130.
    with command.make_context("llmspell", list(invocation.arguments), obj=invocation) as context:
        code: Any = command.invoke(context)
    return code if isinstance(code, int) else 0
