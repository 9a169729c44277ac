"""The models in the package: how they are made, packed and loaded."""
