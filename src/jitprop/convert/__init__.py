"""
Nets of other libraries become trainers, and trainers become nets of other libraries.

Each function imports the other library when it is called.
"""
