"""Define the signals of the models for the apps above them."""

from django.dispatch import Signal

# Sent with version= in the worker, after a retrain activated that model version.
trained = Signal()
