"""Files of other projects: what they made comes in, what is made here goes out."""
