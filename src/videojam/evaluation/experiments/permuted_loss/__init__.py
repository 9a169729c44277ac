"""Does the loss notice shuffled frames? The paper's Figure 3 (videojam evaluate permuted-loss)."""
