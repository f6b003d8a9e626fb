"""Bytes of TFRecord files -> records, and back."""
