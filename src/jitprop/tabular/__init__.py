"""Nets for tables with numbers, categories, booleans, dates, texts and missing values."""
