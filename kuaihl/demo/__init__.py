"""Gradio demo: the page and its API."""
