"""Configs, the one training loop, and the comparisons that make tables and plots."""
