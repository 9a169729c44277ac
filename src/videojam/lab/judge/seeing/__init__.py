"""What a clip shows, found in its pixels: bodies by colour, followed over the frames."""
