"""KLive-Sim: live-stream rooms whose truth is known, with the phenomena that the paper describes."""
