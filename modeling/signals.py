"""What the room of models tells the rooms above it, and asks them."""

from django.dispatch import Signal

# Sent with version= in the worker, after a retrain made that model version the active one.
trained = Signal()

# Asked with dataset_id= while labels are read: answers are the rows of images that chance, not the model, chose to be
# labelled. The room above knows how each was chosen.
asks_for_draws = Signal()
