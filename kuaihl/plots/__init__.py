"""Interactive figures of a prediction (Plotly)."""
