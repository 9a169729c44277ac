"""What an experiment leaves behind: results with their provenance, tables, plots."""
