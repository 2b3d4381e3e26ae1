"""The Serve application: one door, and behind it for each use case a preprocessor and a model."""
