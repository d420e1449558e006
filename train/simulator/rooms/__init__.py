"""Simulated rooms: their course, speech, comments and viewers."""
