"""Events and records as the bytes that the bus stores. Pure."""
