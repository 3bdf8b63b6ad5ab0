"""What the room of models tells the rooms above it."""

from django.dispatch import Signal

# Sent with version= in the worker, after a retrain made that model version the active one.
trained = Signal()
