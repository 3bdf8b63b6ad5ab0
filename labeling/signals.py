"""Define the signals that the data of record sends to the apps above."""

from django.dispatch import Signal

# Sent with dataset_id= after an ingest job succeeded.
ingested = Signal()
# Asked with dataset= before its folder is read: answers are the side of the square that an encoder will want of each of
# its files (labeling.images.encoder_inputs), or None.
asks_for_side = Signal()
# Sent with dataset_id= after the images of a dataset came to be shown in another way.
reshown = Signal()
# Sent with dataset_id= when all items of a dataset are about to be made anew: nothing that goes by their rows holds.
regrouped = Signal()
# Sent with dataset_id= and n_decisions= (so far) after a committed batch of decisions.
decided = Signal()
