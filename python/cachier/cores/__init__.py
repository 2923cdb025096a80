"""Where programs import the exceptions of the backends from."""
