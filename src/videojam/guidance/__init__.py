"""Inner-Guidance (paper, inference): the model's own motion prediction steers the sampling."""
