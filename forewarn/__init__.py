"""Forewarn's core: plain Python that turns rows into decisions. Knows neither Ray nor HTTP."""
