"""Does the generated video move as the model predicts? (videojam evaluate agreement)"""
