"""What can be read off a JPEG's bytes without decoding it (ITU-T T.81)."""
