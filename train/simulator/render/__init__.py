"""Render a simulated room as a recording with its logs."""
