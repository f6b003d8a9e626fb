"""Pictures -> region features in a store, resumable."""
