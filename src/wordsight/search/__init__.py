"""A folder of pictures or texts -> an index -> hits, and the reasons for them."""
