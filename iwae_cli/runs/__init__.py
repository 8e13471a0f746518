"""What lies on disk for one run: one writer and one reader for each file."""
