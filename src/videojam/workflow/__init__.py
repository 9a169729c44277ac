"""The jobs, wired: data, training and sampling do not know each other and meet here."""
