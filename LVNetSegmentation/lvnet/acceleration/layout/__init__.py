"""How memory is laid out for the kernels; shared by all that call them or are called."""
