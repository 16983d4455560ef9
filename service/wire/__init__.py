"""What goes over HTTP: request and response models, with the examples that OpenAPI shows."""
