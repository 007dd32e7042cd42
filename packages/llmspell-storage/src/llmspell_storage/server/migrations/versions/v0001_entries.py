"""Create the table of entries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

# Written out: a migration must go on doing what it did when the table looks different.
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "llmspell_entries",
        sa.Column(
            "store",
            sa.String(64).with_variant(
                mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql", "mariadb"
            ),
            primary_key=True,
        ),
        sa.Column(
            "digest",
            sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb"),
            primary_key=True,
        ),
        sa.Column(
            "head",
            sa.LargeBinary(512).with_variant(mysql.VARBINARY(512), "mysql", "mariadb"),
            nullable=False,
        ),
        sa.Column("key", _BYTES, nullable=False),
        sa.Column("value", _BYTES, nullable=False),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
    op.create_index("llmspell_entries_order", "llmspell_entries", ["store", "head"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("llmspell_entries")
