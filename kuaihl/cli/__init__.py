"""Command line: kuaihl predict, watch, explain, comments, info and pull."""
