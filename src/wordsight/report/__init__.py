"""Numbers and examples -> HTML pages and charts."""
