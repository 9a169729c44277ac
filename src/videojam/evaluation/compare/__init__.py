"""The comparison of any systems: what is asked for, the work, the tables, the page."""
