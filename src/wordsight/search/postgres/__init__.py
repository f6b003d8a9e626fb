"""A PostgreSQL server with pgvector -> an index that several machines write and search."""
