"""Experiments: the paper's tables and figures, and comparisons with rivals."""
