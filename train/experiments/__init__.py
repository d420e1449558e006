"""Experiments: each is a command that compares methods and prints a table."""
