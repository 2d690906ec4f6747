"""Data sets from elsewhere: downloads, archives, the library of what was fetched, conversion to one layout."""
