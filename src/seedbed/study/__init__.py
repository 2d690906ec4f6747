"""The study: every threshold evaluated exactly in one pass, Optuna on top, and the protocol of who chooses on what."""
