"""Stored features that stay valid for years: shards written once, numbered manifests, searches, deletion of people."""
