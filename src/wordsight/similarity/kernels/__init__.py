"""Blocks of embedding sets -> scores: packing, matrix products, int8."""
