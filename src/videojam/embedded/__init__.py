"""The models in the package: how they are made, packed, loaded and shown."""
