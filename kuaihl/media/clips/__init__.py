"""Clips: cut highlights out of a recording."""
