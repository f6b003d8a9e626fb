"""A data set and a trained matcher -> captions that their picture does not support, and duplicates."""
