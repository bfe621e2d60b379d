"""The Segment panel: see it, run it, keep what is right of it."""
