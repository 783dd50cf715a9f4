"""x2c-edge: a person smiles at a camera; the Ameca humanoid wears the same smile, now."""

__version__ = "0.1.0"
