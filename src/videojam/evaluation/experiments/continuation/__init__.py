"""When is motion decided? The paper's Figure 8 (videojam evaluate continuation)."""
