"""Memory, threads and prefetching of long work."""
