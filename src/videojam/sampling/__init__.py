"""A prompt and a seed -> a clip: one call of a stock pipeline, and samples on disk."""
