"""Runs migrations on the connection that the storage back end hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="llmspell_storage_version",
)
context.run_migrations()
