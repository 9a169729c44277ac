"""Videos as users have them: which there are, what is in them, which clips to cut."""
