"""Recordings at rest, one or many: each predicted into a folder of its own, with one loading of the models."""
