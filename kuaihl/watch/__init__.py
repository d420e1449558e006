"""A recording in progress: followed while it is written, a prediction as soon as each segment has ended."""
