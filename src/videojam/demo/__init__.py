"""What the embedded models make, side by side, offline, with what was measured of them."""
