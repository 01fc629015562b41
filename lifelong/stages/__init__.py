"""Stages as data: settings, and which dataset comes when."""
