"""The Models panel: what there is, where from, and what it is for."""
