"""Deliberately wrong messages: a module for each group; `craft` is what they are made with."""
