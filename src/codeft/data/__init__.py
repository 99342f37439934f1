"""Rows, readers, mining, features and batches."""
