"""Trains in several processes on this machine."""
