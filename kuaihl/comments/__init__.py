"""Comment logs: readers for every supported format, selection, and timing against the recording."""
