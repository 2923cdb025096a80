"""Stores that are reached through clients which programs bring themselves."""
