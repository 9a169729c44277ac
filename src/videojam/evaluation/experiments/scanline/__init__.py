"""`videojam evaluate scanline`: the whole paper in small, trained from nothing (experiment.py)."""
