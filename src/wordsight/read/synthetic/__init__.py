"""A seed -> pictures of coloured shapes, their captions and boxes."""
