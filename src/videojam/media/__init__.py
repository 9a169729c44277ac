"""Clips as files, and small clips made large enough to look at."""
