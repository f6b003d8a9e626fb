"""An index and an encoded query -> exact scores and the best rows."""
