"""Models: what diffusers lacks, and small folders in the layout of published ones."""
