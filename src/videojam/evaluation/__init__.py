"""Evaluation: clips of any system, metrics, statistics, the paper's experiments, their reports."""
