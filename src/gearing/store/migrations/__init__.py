"""How a database comes to the current schema: one numbered file for each change, run by Alembic."""
