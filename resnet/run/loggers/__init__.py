"""Where the figures of a run go as well: a table, and services."""
