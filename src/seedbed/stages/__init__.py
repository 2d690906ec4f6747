"""The stages of the pipeline: one function of (context, method) per DVC stage, callable with and without DVC."""
