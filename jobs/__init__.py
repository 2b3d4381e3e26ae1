"""Thin mains: each parses, calls and prints. The `forewarn` command gathers them."""
