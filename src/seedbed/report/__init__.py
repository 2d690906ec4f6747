"""The comparison of methods: its machine-readable form, its page, and the files behind `dvc plots`."""
