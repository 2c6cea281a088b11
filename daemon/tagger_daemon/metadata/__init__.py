"""What a photo says now, what it should say, and the safe way from one to the other."""
