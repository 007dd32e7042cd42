"""Helpers that several LLMSpell packages call: retries, waits that can be cancelled, JSON Schema.

Names load on first use.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_utils._json_schema import (
        JsonSchema as JsonSchema,
    )
    from llmspell_utils._json_schema import (
        Problem as Problem,
    )
    from llmspell_utils._retry import (
        Retries as Retries,
    )
    from llmspell_utils._retry import (
        RetryPolicy as RetryPolicy,
    )
    from llmspell_utils._waiting import (
        closing as closing,
    )
    from llmspell_utils._waiting import (
        in_order as in_order,
    )
    from llmspell_utils._waiting import (
        unless_cancelled as unless_cancelled,
    )

__all__ = [
    "JsonSchema",
    "Problem",
    "Retries",
    "RetryPolicy",
    "closing",
    "in_order",
    "unless_cancelled",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "JsonSchema": "_json_schema",
        "Problem": "_json_schema",
        "Retries": "_retry",
        "RetryPolicy": "_retry",
        "closing": "_waiting",
        "in_order": "_waiting",
        "unless_cancelled": "_waiting",
    },
)
