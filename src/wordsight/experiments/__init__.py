"""A grid of configurations, losses and seeds -> runs, and one table of what they came to."""
