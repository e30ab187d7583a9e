"""Names of sources that several kinds share."""

DIGITS = "digits"
"""The demo's network, or its images."""
