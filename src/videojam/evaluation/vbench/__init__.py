"""VBench: its scores put together, its weights found, its real package run as a process."""
