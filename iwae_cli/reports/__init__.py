"""Tables and pictures of finished results; run folders are read, models never."""
