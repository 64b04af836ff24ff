"""Where each data set lies, what it must contain, how to check and prepare it."""
