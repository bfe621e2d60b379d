"""Small stacks with ground truth and the generators that make them."""
