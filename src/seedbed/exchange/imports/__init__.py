"""Files that other projects made: read without running anything, checked, and written in this project's own forms."""
