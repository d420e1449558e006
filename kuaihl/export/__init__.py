"""Files of a prediction: tables, HTML pages, chapters, subtitles and timelines."""
