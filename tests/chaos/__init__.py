"""Injures training runs at random, and compares how they end."""
