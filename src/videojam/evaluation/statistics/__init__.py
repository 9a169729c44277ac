"""How sure one can be: bootstrap over prompts, bands of curves, distances of sets of clips."""
