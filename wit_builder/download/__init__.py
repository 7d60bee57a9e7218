"""Downloading images politely and safely, a shard at a time."""
