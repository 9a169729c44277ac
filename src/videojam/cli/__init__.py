"""The command line: one small file per command, parse -> config -> one library call."""
