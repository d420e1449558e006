"""Benchmarks: each is a module to run, prints what it measured, and asserts nothing."""
