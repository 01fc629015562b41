"""From clips to batches: which draws are whose, two frames of a clip, their crops, augmentation."""
