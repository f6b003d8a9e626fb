"""Data-set files as published -> pairs with explicit identities."""
