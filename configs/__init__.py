"""Recipes, one small Python file each, on the typed schema in schema.py."""
