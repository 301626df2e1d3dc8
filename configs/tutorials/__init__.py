"""Recipes that repeat published tutorials, point by point."""
