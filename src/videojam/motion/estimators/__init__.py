"""Optical flow estimators: dis (default, no weights), raft (torchvision), exact (given fields)."""
