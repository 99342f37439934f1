"""Stored predictions, scored without a model: their layouts, and what each task's are scored by."""
