"""Metrics of any clip (uint8 (F, H, W, 3)) without learned weights; table.py has all of them."""
