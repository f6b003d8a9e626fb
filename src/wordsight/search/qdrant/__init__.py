"""Indexes on Qdrant: one point per item, with the vectors of its regions as a multivector."""
