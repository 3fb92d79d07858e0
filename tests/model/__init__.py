"""A fleet as a model: real cores' decisions over a simulated server, on virtual clocks."""
