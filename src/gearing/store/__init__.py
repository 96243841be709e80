"""What outlives a process: the journal, its projections, the inbox and the outbox, in one SQLite file."""
