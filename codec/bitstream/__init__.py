"""Codes as bytes: packed into integers, entropy-coded, in packets, in files that survive damage."""
