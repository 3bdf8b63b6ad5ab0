"""What the models tell the apps above them."""

from django.dispatch import Signal

# Sent with version= in the worker, after a retrain made that model version the active one.
trained = Signal()
