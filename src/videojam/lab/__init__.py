"""Simulated clips with known motion."""
