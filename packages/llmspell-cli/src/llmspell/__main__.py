"""The command."""

import sys

from llmspell_cli import main

if __name__ == "__main__":
    sys.exit(main())
