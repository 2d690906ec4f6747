"""Taking data in: trees laid into data/, the record of what they are, the check against it, digests of their parts."""
