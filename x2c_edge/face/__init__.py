"""Find a face once, then follow it; a face is handed on as an affine, never as copied pixels."""
