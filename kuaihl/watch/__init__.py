"""Predict from a recording while it is being written."""
