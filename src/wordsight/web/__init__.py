"""The search page and the REST interface."""
