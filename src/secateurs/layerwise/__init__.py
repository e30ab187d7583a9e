"""Layer by layer: models larger than memory, of which one layer is there at a time."""
