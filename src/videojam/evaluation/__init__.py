"""Evaluation: metrics on any clip, and how sure one can be of their means."""
