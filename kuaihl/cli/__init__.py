"""The kuaihl command."""
