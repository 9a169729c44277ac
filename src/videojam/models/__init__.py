"""Models: what diffusers lacks, small folders in the published layout, and what a model is."""
