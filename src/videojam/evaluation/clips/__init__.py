"""The clips that are judged: which systems made them, kept in shards, and their scores as rows."""
