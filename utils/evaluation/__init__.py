"""Scores of predicted masks, and the tables, charts and pages that show them."""
