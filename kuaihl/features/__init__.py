"""ModelInputs of a segment: pretrained encoders for pictures and text, and chat activity."""
