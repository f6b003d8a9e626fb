"""Vectors of a picture and a word -> the probability that the picture shows it; and of a match."""
