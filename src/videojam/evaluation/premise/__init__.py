"""Is there something to gain? What a base's loss knows of the order of frames."""
