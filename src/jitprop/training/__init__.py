"""The course of a fit, for Trainer, Fleet and the estimators."""
