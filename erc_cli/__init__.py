"""Emotion recognition in conversation on the command line."""

__version__ = "0.1.0"
