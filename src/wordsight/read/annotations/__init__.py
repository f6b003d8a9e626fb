"""Files of known boxes -> boxes at the words that name them."""
