"""People decide: a two-alternative study of clips, from its plan to its report."""
