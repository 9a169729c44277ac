"""From votes to what they say, and how sure that is."""
