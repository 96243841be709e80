"""Runs the migrations on the connection that `gearing.store.database` hands over."""

from __future__ import annotations

from alembic import context

from gearing.store.schema import tables

_config = context.config
context.configure(
    connection=_config.attributes["connection"], target_metadata=tables, transactional_ddl=True, render_as_batch=True
)
context.run_migrations()
