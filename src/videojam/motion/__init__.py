"""Optical flow <-> motion video (paper, motion representation). Knows no generative model."""
