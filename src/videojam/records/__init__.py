"""What makes a run repeatable: files written whole or not at all, and where a result comes from."""
