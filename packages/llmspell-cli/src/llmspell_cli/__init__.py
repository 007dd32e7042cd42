"""The ``llmspell`` command.

A command is a function with Typer annotations, or a `typer.Typer` with several, registered in the
entry-point group ``llmspell.commands``. It finds its `Invocation` in ``ctx.obj``.
"""

from llmspell_core import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell_cli._help import Command as Command
    from llmspell_cli._help import Group as Group
    from llmspell_cli._invocation import Invocation as Invocation
    from llmspell_cli._main import main as main

__all__ = ["Command", "Group", "Invocation", "main"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"Command": "_help", "Group": "_help", "Invocation": "_invocation", "main": "_main"},
)
