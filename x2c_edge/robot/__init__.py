"""The virtual Ameca."""
