"""The pause: its flags, how it ends, and whether it holds."""
