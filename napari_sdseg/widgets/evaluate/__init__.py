"""The Evaluate panel: labels against ground truth."""
