"""Weights of one part (text encoder, CNN, words) under the names that published code gives them."""
