"""From users' data to batches: readers, splits, sampling, augmentation, and what each kind of data needs."""
