"""Search, fit and judge models. Knows Ray Tune and Ray Train; knows nothing of serving."""
