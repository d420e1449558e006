"""Recordings: containers, frames, audio, remuxing and clips."""
