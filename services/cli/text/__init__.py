"""Answers of the API as lines for people. Pure: JSON objects in, lines out."""
