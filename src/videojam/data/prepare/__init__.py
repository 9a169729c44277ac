"""Videos -> dataset: plan, decode in workers, encode, write; stopped and resumed at any moment."""
