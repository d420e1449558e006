"""Benchmarks: run each as a module; it prints its measurements and asserts nothing."""
