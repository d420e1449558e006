"""Speech: voice activity detection, Whisper, and transcripts."""
