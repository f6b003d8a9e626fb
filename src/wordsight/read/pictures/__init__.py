"""Picture files -> pixels and region features."""
