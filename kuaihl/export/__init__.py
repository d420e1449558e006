"""Files of a prediction: JSON, CSV, HTML, chapters, subtitles and timelines."""
