"""Interactive figures of a prediction (plotly)."""
