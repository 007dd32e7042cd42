"""Let entries expire."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the time, and an index to sweep by."""
    op.add_column("llmspell_entries", sa.Column("expires_at", sa.Double, nullable=True))
    op.create_index("llmspell_entries_expiry", "llmspell_entries", ["expires_at"])


def downgrade() -> None:
    """Let everything stay."""
    op.drop_index("llmspell_entries_expiry", "llmspell_entries")
    op.drop_column("llmspell_entries", "expires_at")
