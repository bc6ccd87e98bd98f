"""Measures container against bare metal."""
