"""A folder -> an index on disk, kept in step; snapshots of it."""
