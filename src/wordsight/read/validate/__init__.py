"""A data set -> what is wrong with it, with place and remedy."""
